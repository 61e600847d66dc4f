//! A project's demands as a problem: one set of its options, on one platform.

use std::collections::BTreeSet;

use super::parts::Fixed;
use super::problem::{Pool, Problem};
use crate::domain::{
    Code, Finding, Gather as _, Package, Place, Platform, PythonTag, PythonVersion, Severity,
    WheelVariant, extras,
};
use crate::matrix::Matrix;
use crate::requirements::project::{Answer, By, Demand, Kind, Project, Setting, Wish, contradict};
use crate::requirements::{CudaWish, PythonWish, TorchWish};

/// A project's demands on one platform.
pub struct Layer<'a> {
    /// What file and flags ask for.
    pub problem: &'a Problem,
    /// What the project's files say.
    pub project: &'a Project,
    /// The options that are taken.
    pub answer: &'a Answer,
    /// What flags have decided.
    pub fixed: &'a Fixed,
    /// The facts.
    pub matrix: &'a Matrix,
    /// The platform.
    pub platform: Platform,
}

/// What came of it.
#[derive(Default)]
pub struct Built {
    /// What to solve, the newest Python first.
    pub problems: Vec<Problem>,
    /// Address of the index that the build is taken from.
    pub index: Option<String>,
    /// Why there is nothing to solve, whatever the Python.
    pub against: Vec<Finding>,
}

impl Layer<'_> {
    /// The problems of these targets, or what stands against them.
    pub fn problems(&self, targets: &[Pool]) -> Built {
        let mut built = Built::default();
        let python = if self.fixed.python { self.problem.python.clone() } else { self.python() };
        if !self.fixed.python {
            built.against = self.project.python_clashes(self.answer);
            if !built.against.is_empty() {
                return built;
            }
        }
        let admits = |minor: &u8| {
            python.as_ref().is_none_or(|wish| match wish {
                PythonWish::Exact(version) => version.minor == *minor,
                range @ PythonWish::Range(..) => range.admits(PythonVersion::new(*minor)),
            })
        };
        // Runs of neighbouring versions in which the same lines apply, the newest first.
        let mut runs: Vec<(u8, u8, Wish<'_>)> = Vec::new();
        let mut elsewhere = None;
        for minor in PythonVersion::MINORS.rev().filter(admits) {
            let version = match &python {
                Some(PythonWish::Exact(version)) => *version,
                _ => PythonVersion::new(minor),
            };
            let setting = Setting::new(self.platform, version);
            if let Some(place) = self.project.limited(&setting) {
                elsewhere.get_or_insert_with(|| self.limit(place));
                continue;
            }
            let wish = self.project.wish(self.answer, &setting);
            if let Some(finding) = self.another_wheel(&wish, version) {
                elsewhere.get_or_insert(finding);
                continue;
            }
            match runs.last_mut() {
                Some((low, _, last)) if *low == minor + 1 && self.same(last, &wish) => *low = minor,
                _ => runs.push((minor, minor, wish)),
            }
        }
        if runs.is_empty() && elsewhere.is_none() {
            // No Python of this list: the solver says so in its own words.
            let newest =
                Setting::new(self.platform, PythonVersion::new(*PythonVersion::MINORS.end()));
            runs.push((0, 0, self.project.wish(self.answer, &newest)));
        }
        if runs.is_empty() {
            built.against.extend(elsewhere);
            return built;
        }
        // A Python for which the files ask for no torch is not meant, where they do for another.
        let all = runs.len();
        let brings =
            |(_, _, wish): &(u8, u8, Wish<'_>)| wish.demands.iter().any(|d| d.name == "torch");
        if runs.iter().any(brings) {
            runs.retain(brings);
        }
        let one = runs.len() < 2 && all == runs.len() && elsewhere.is_none();
        for (low, high, wish) in &runs {
            let mut against = self.clashes(wish);
            against.extend(self.without_cuda(wish));
            if !against.is_empty() {
                built.against.append(&mut against);
                continue;
            }
            let python = if one { python.clone() } else { narrowed(python.as_ref(), *low, *high) };
            let index = wish.said.as_ref().filter(|said| said.by == By::Index);
            if built.index.is_none() {
                built.index = index.map(|said| said.given.to_owned());
            }
            built.problems.push(self.problem_of(wish, python, targets));
        }
        // What only other Pythons meet stops nothing.
        if !built.problems.is_empty() {
            built.against.clear();
        }
        built
    }

    fn python(&self) -> Option<PythonWish> {
        // A range has no words for a build without the global lock.
        let exact = |wish: &&PythonWish| matches!(wish, PythonWish::Exact(v) if v.free_threaded);
        if let Some(wish) = self.problem.python.as_ref().filter(exact) {
            return Some(wish.clone());
        }
        let said = self.project.python_of(self.answer);
        let exact = said.iter().find_map(|said| {
            let text = said.versions.to_string();
            text.strip_prefix("==").filter(|t| !t.contains(',')).and_then(|t| t.parse().ok())
        });
        if let Some(exact) = exact {
            return Some(PythonWish::Exact(exact));
        }
        let mut specifiers = Vec::new();
        for spec in said.iter().flat_map(|said| said.versions.iter()) {
            if !specifiers.contains(spec) {
                specifiers.push(spec.clone());
            }
        }
        let text = specifiers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        (!specifiers.is_empty()).then(|| PythonWish::Range(text, specifiers.into_iter().collect()))
    }

    /// Whether a demand is about something this program answers for.
    fn matters(&self, name: &str) -> bool {
        name == "torch"
            || !self.matrix.companions(name).is_empty()
            || self.matrix.companion_rules.iter().any(|rule| rule.package == name)
    }

    fn same(&self, a: &Wish<'_>, b: &Wish<'_>) -> bool {
        let key = |wish: &Wish<'_>| {
            let demands: Vec<_> = wish
                .demands
                .iter()
                .filter(|d| self.matters(&d.name))
                .map(|d| {
                    (d.name.clone(), d.place.clone(), d.spec(), d.extras.clone(), d.index.clone())
                })
                .collect();
            (demands, wish.said.as_ref().map(|said| (said.variant, said.by)))
        };
        key(a) == key(b)
    }

    /// The project says itself that it is not meant for this platform.
    fn limit(&self, place: &Place) -> Finding {
        let message = format!(
            "{place}: the project is limited to environments that {} with this Python is none of",
            self.platform
        );
        Finding::new(Code::InputConflict, Severity::Error, message)
            .at(place)
            .fact("environments names all that uv resolves for".to_owned(), place.to_string())
            .help("add the environment there, or drop the target")
    }

    /// A wheel that is named by its address is made for another Python or platform.
    fn another_wheel(&self, wish: &Wish<'_>, python: PythonVersion) -> Option<Finding> {
        wish.demands.iter().filter(|d| self.matters(&d.name)).find_map(|demand| {
            let link = demand.link.as_ref()?;
            let tags = |text: &Option<String>| -> Vec<String> {
                text.iter().flat_map(|t| t.split('.')).map(str::to_owned).collect()
            };
            let pythons: Vec<PythonTag> =
                tags(&link.python).iter().filter_map(|tag| tag.parse().ok()).collect();
            let platforms: Vec<Platform> =
                tags(&link.platform).iter().filter_map(|tag| tag.parse().ok()).collect();
            let message = if !platforms.is_empty() && !platforms.contains(&self.platform) {
                format!(
                    "{}: the wheel of {} is made for {}, and the target is {}",
                    demand.place, demand.name, platforms[0], self.platform
                )
            } else if !pythons.is_empty() && !pythons.iter().any(|tag| tag.admits(python)) {
                format!(
                    "{}: the wheel of {} is made for {}, and Python {python} is asked for",
                    demand.place, demand.name, link.python.as_deref().unwrap_or_default()
                )
            } else {
                return None;
            };
            Some(
                Finding::new(Code::NoSuchWheel, Severity::Error, message)
                    .at(&demand.place)
                    .fact(link.address.clone(), demand.place.to_string())
                    .help("name the wheel of this target, with a marker for each, or a version and an index"),
            )
        })
    }

    /// A build for other hardware is asked for, and cards of NVIDIA are to run it.
    fn without_cuda(&self, wish: &Wish<'_>) -> Option<Finding> {
        let said = wish.said.as_ref().filter(|_| !self.fixed.cuda)?;
        let (variant, by, place) = (said.variant, said.by, said.place);
        if variant.cuda().is_some() {
            return None;
        }
        let (code, what) = match variant {
            WheelVariant::Cpu => (Code::CpuOnlyWheel, "which has no GPU code"),
            _ => (Code::ArchNotInBinary, "which has no code for NVIDIA's cards"),
        };
        let message = format!("{place} asks for the build {variant} ({}), {what}", by.word());
        Some(
            Finding::new(code, Severity::Error, message)
                .at(place)
                .fact(format!("the build is named by {}", by.word()), place.to_string())
                .help("name a CUDA build there, or give --cuda"),
        )
    }

    fn clashes(&self, wish: &Wish<'_>) -> Vec<Finding> {
        let mine = |demand: &&&Demand| {
            let name = demand.name.as_str();
            self.matters(name)
                && !self.fixed.with.contains(name)
                && !(name == "torch" && self.fixed.torch)
        };
        let demands: Vec<&Demand> = wish.demands.iter().filter(mine).copied().collect();
        let mut clashes = Vec::new();
        for (at, a) in demands.iter().enumerate() {
            for b in &demands[at..] {
                if (std::ptr::eq(*a, *b) && a.ranges().is_empty()) || (a != b && contradict(a, b)) {
                    clashes.push(self.project.versions_clash(a, b));
                }
            }
        }
        clashes
    }

    /// What contradicts itself about the build, and what counted.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if !self.fixed.cuda {
            findings = self.project.builds(Some(self.answer));
        }
        for finding in &mut findings {
            finding.severity = finding.severity.max(Severity::Warning);
        }
        for demand in self.project.demands.iter().filter(|d| {
            from_repository(d) && self.matters(&d.name) && self.answer.has(d.choice.as_ref())
        }) {
            let message = format!(
                "{}: {} comes from a repository: it is compiled on installation, and not judged",
                demand.place, demand.name
            );
            findings.push(
                Finding::new(Code::InputUnread, Severity::Warning, message)
                    .at(&demand.place)
                    .help("say --needs nvcc when it holds CUDA code"),
            );
        }
        // Nothing says which torch: what could not be read may have.
        let mut torch = self.project.demands.iter().filter(|d| d.name == "torch");
        if !torch.any(|d| self.answer.has(d.choice.as_ref())) {
            const MOST: usize = 5;
            let unread = self.project.findings.iter().filter(|f| f.code == Code::InputUnread);
            findings.extend(unread.take(MOST).map(|finding| {
                let place = finding.place.as_ref().map_or(String::new(), |p| format!("{p}: "));
                let message = format!("{place}{}", finding.message);
                Finding { severity: Severity::Warning, message, ..finding.clone() }
            }));
        }
        findings
    }

    fn problem_of(&self, wish: &Wish<'_>, python: Option<PythonWish>, targets: &[Pool]) -> Problem {
        let mut problem = Problem { python, targets: targets.to_vec(), ..self.problem.clone() };
        let said = wish.said.as_ref().filter(|_| !self.fixed.cuda);
        let build = said.filter(|said| said.by != By::Config);
        let lines = |name: &str| -> String {
            let mut places: Vec<String> = wish
                .demands
                .iter()
                .filter(|d| {
                    d.name == name && (d.kind != Kind::Constraint || !d.versions.is_empty())
                })
                .map(|d| d.place.to_string())
                .collect();
            places.dedup();
            places.join(", ")
        };
        if self.fixed.torch {
            // The flag names the release, the files may name the build.
            if let (Some(torch), Some(said)) = (&mut problem.torch, build) {
                torch.given = format!("{}, build {} ({})", torch.given, said.variant, said.place);
                torch.variant = Some(said.variant);
            }
            if let Some(torch) = &mut problem.torch {
                torch.extras = extras_of("torch", wish);
            }
        } else {
            let asked = wish.demands.iter().any(|d| d.name == "torch");
            problem.torch = (asked || build.is_some()).then(|| {
                let versions = wish.versions("torch");
                let spec = versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
                let spec = if spec.is_empty() { "of any version".to_owned() } else { spec };
                let label = build.map_or(String::new(), |said| format!(", build {}", said.variant));
                let mut places = vec![lines("torch")];
                places.extend(build.map(|said| said.place.to_string()));
                places.retain(|place| !place.is_empty());
                if places.len() == 2 && places[0].split(", ").any(|place| place == places[1]) {
                    places.pop();
                }
                let places = places.join(", ");
                problem.origins.insert("torch".into(), places.clone());
                let variant = build.map(|said| said.variant);
                TorchWish {
                    given: format!("{spec}{label} ({places})"),
                    versions,
                    variant,
                    extras: extras_of("torch", wish),
                }
            });
        }
        match said {
            Some(said) if said.by == By::Config => {
                problem.cuda = self.cuda(said.variant, &said.place.to_string());
            }
            // An index or a label counts before the configuration; and who names a build means it,
            // announced or not.
            Some(_) => {
                problem.cuda = None;
                problem.allow.unofficial = true;
            }
            None => (),
        }
        let names: BTreeSet<&str> = wish
            .demands
            .iter()
            .map(|d| d.name.as_str())
            .filter(|name| {
                *name != "torch" && self.matters(name) && !self.fixed.with.contains(*name)
            })
            // What is compiled from its repository is no file that the matrix knows.
            .filter(|name| !wish.demands.iter().any(|d| d.name == *name && from_repository(d)))
            .gather();
        for name in names {
            let package = package(name, wish, &lines(name));
            problem.with.retain(|p| p.name != name);
            problem.with.push(package);
        }
        problem
    }

    fn cuda(&self, variant: WheelVariant, place: &str) -> Option<CudaWish> {
        if let Some(own) = &self.problem.cuda {
            return Some(own.clone());
        }
        let mut wish: CudaWish = variant.cuda()?.to_string().parse().ok()?;
        wish.given = format!("{variant} ({place})");
        Some(wish)
    }
}

/// Whether a demand is for a commit or tag of a repository.
fn from_repository(demand: &Demand) -> bool {
    demand.link.as_ref().is_some_and(|link| link.vcs)
}

/// The options of a package that any of its lines asks for. A constraint asks for none.
fn extras_of(name: &str, wish: &Wish<'_>) -> BTreeSet<String> {
    let mine = wish.demands.iter().filter(|d| d.name == name && d.kind != Kind::Constraint);
    extras(mine.flat_map(|d| d.extras.iter().map(String::as_str)))
}

/// A package with the versions that all its lines admit.
fn package(name: &str, wish: &Wish<'_>, lines: &str) -> Package {
    let demands: Vec<&&Demand> = wish.demands.iter().filter(|d| d.name == name).collect();
    let exact = match &demands[..] {
        [one] => {
            let text = one.link.as_ref().map_or(one.given.as_str(), |link| link.address.as_str());
            text.parse::<Package>().ok()
        }
        _ => None,
    };
    let mut package = exact.filter(|package| package.name == name).unwrap_or_else(|| Package {
        given: String::new(),
        name: name.to_owned(),
        extras: BTreeSet::new(),
        versions: wish.versions(name),
        local: demands.iter().find_map(|d| d.label()).map(|label| label.to_string()),
        python: None,
        platform: None,
    });
    package.extras = extras_of(name, wish);
    let spec = package.versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    package.given = format!("{name}{spec} ({lines})");
    package
}

/// A range of Python, cut to a run of minor versions.
fn narrowed(python: Option<&PythonWish>, low: u8, high: u8) -> Option<PythonWish> {
    let text = match python {
        Some(exact @ PythonWish::Exact(_)) => return Some(exact.clone()),
        Some(PythonWish::Range(text, _)) => format!("{text},>=3.{low},<3.{}", high + 1),
        None => format!(">=3.{low},<3.{}", high + 1),
    };
    let versions = text.parse().ok()?;
    Some(PythonWish::Range(text, versions))
}
