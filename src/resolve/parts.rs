//! A project's own demands over the targets: one problem for every set of its options and every
//! platform, because markers and indexes may differ there.

use std::collections::{BTreeMap, BTreeSet};

use super::Outcome;
use super::case::Case;
use super::problem::{Pool, Problem};
use super::stack::{LeftOut, Resolution, Stack};
use crate::domain::{
    Code, Finding, Package, Place, Platform, PythonTag, PythonVersion, Severity, TorchVersion,
    WheelVariant,
};
use crate::matrix::Matrix;
use crate::requirements::project::{
    Answer, By, Demand, Kind, Pin, Project, Setting, Wish, contradict,
};
use crate::requirements::{CudaWish, PythonWish, TorchWish};

/// Minor versions of Python 3 that a marker may tell apart.
const PYTHONS: std::ops::RangeInclusive<u8> = 6..=20;

/// What flags have decided, so that the files no longer matter.
#[derive(Debug, Clone, Default)]
pub struct Fixed {
    /// `--torch`
    pub torch: bool,
    /// `--cuda`
    pub cuda: bool,
    /// `--python`
    pub python: bool,
    /// Names given by `--with`.
    pub with: BTreeSet<String>,
}

/// One set of options on one platform.
#[derive(Debug, Clone)]
pub struct Part {
    /// Name of the options; empty where the project has no choice to make.
    pub name: String,
    /// The options themselves.
    pub answer: Answer,
    /// What to solve. Several where a marker tells Pythons apart: the newest Python first.
    pub problems: Vec<Problem>,
    /// Address of the index that the build is taken from, when a line names it.
    pub index: Option<String>,
    /// What the files say that is worth knowing beside the answer.
    pub findings: Vec<Finding>,
}

/// The parts of a project, and the sets of options that are left out beside them.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// To be solved.
    pub parts: Vec<Part>,
    /// Sets that contradict themselves, or that ask for builds without CUDA.
    pub left_out: Vec<LeftOut>,
}

/// Lays the demands of a project under a problem.
///
/// # Errors
/// Lines that contradict each other about a package this program answers for, or that ask for builds
/// without CUDA, when that leaves nothing to solve.
pub fn parts(
    problem: &Problem,
    project: &Project,
    answers: &[Answer],
    fixed: &Fixed,
    matrix: &Matrix,
) -> Result<Parts, Vec<Finding>> {
    let mut platforms: BTreeMap<Platform, Vec<Pool>> = BTreeMap::new();
    for pool in &problem.targets {
        platforms.entry(pool.platform()).or_default().push(pool.clone());
    }
    let mut all = Parts::default();
    let mut refusals = Vec::new();
    for answer in answers {
        let mut here = Vec::new();
        let mut against = Vec::new();
        for (platform, targets) in &platforms {
            let layer = Layer { problem, project, answer, fixed, matrix, platform: *platform };
            let built = layer.problems(targets);
            against.extend(built.against);
            here.push(Part {
                name: answer.name(),
                answer: answer.clone(),
                problems: built.problems,
                index: built.index,
                findings: layer.findings(),
            });
        }
        if let Some(first) = against.first() {
            all.left_out.push(LeftOut { name: answer.name(), why: first.message.clone() });
            refusals.append(&mut against);
            continue;
        }
        // One problem where the platforms do not matter: one release for all targets.
        match &here[..] {
            [first, rest @ ..] if rest.iter().all(|part| first.asks_the_same(part)) => {
                let mut joined = first.clone();
                for one in &mut joined.problems {
                    one.targets.clone_from(&problem.targets);
                }
                all.parts.push(joined);
            }
            _ => all.parts.extend(here),
        }
    }
    if all.parts.is_empty() {
        let mut seen = BTreeSet::new();
        refusals.retain(|finding: &Finding| seen.insert(finding.message.clone()));
        return Err(refusals);
    }
    if all.parts.iter().map(|part| &part.answer.named).collect::<BTreeSet<_>>().len() < 2 {
        for part in &mut all.parts {
            part.name.clear();
        }
    }
    Ok(all)
}

/// What the files of a project pin.
#[derive(Debug, Clone, Default)]
pub struct Pinned {
    /// torch, with the label of the build that is asked for.
    pub torch: Option<TorchVersion>,
    /// Python, when it is exact.
    pub python: Option<PythonVersion>,
    /// Address of the index that torch is to come from.
    pub index: Option<String>,
    /// Companions.
    pub with: Vec<Package>,
    /// What the files disagree about, and what counted.
    pub findings: Vec<Finding>,
}

/// Why a project pins nothing.
#[derive(Debug, Clone)]
pub enum Unpinned {
    /// Its lines contradict each other.
    Contradiction(Vec<Finding>),
    /// It has options that exclude each other: their names.
    Options(Vec<String>),
    /// It leaves the release of torch open.
    Open(String),
}

/// What a project pins for the machine of a case: exact versions, or those of another tool's lock.
///
/// # Errors
/// See [`Unpinned`].
pub fn pinned(
    case: &Case,
    project: &Project,
    answers: &[Answer],
    fixed: &Fixed,
    matrix: &Matrix,
) -> Result<Pinned, Unpinned> {
    let pool = Pool {
        name: String::new(),
        gpus: case.gpus.clone(),
        driver: None,
        platform: case.platform,
        libc: None,
        module: None,
    };
    let python = case.python.map(PythonWish::Exact);
    let machine = Problem { targets: vec![pool], python, ..Problem::default() };
    let fixed = Fixed { python: fixed.python || machine.python.is_some(), ..fixed.clone() };
    let parts =
        parts(&machine, project, answers, &fixed, matrix).map_err(Unpinned::Contradiction)?;
    let [part] = &parts.parts[..] else {
        return Err(Unpinned::Options(answers.iter().map(Answer::name).collect()));
    };
    let Some(problem) = part.problems.first() else { return Ok(Pinned::default()) };
    let python = match &problem.python {
        Some(PythonWish::Exact(version)) => Some(*version),
        _ => None,
    };
    let mut pinned = Pinned {
        torch: None,
        python,
        index: part.index.clone(),
        with: problem.with.clone(),
        findings: part.findings.clone(),
    };
    let Some(wish) = problem.torch.as_ref().filter(|_| !fixed.torch) else { return Ok(pinned) };
    let exact = wish.versions.iter().find(|spec| {
        matches!(spec.operator(), pep440_rs::Operator::Equal | pep440_rs::Operator::ExactEqual)
    });
    let version = match exact {
        Some(spec) => spec.version().clone(),
        None => project
            .pins
            .iter()
            .find(|pin| pin.name == "torch" && wish.versions.contains(&pin.version))
            .map(|pin| pin.version.clone())
            .ok_or_else(|| Unpinned::Open(wish.given.clone()))?,
    };
    let build = wish.variant.filter(|_| version.local().is_empty());
    let label = build.map_or(String::new(), |variant| format!("+{variant}"));
    pinned.torch = format!("{version}{label}").parse().ok();
    Ok(pinned)
}

/// Solves every part. A set of options without an answer is left out beside others that have one; what
/// is left when none has is explained.
pub fn resolve_parts(parts: &Parts, project: &Project, matrix: &Matrix) -> Outcome {
    let mut all = Resolution { stacks: Vec::new(), left_out: parts.left_out.clone() };
    let mut first = None;
    let mut seen = BTreeSet::new();
    for part in parts.parts.iter().filter(|part| seen.insert(&part.answer.named)) {
        // All platforms of a set, or none of them.
        let mine = parts.parts.iter().filter(|other| other.answer.named == part.answer.named);
        let stacks: Result<Vec<_>, _> = mine.map(|part| stacks_of(part, project, matrix)).collect();
        match stacks {
            Ok(stacks) => all.stacks.extend(stacks.into_iter().flatten()),
            Err(outcome) => {
                all.left_out.push(LeftOut { name: part.name.clone(), why: why(&outcome) });
                first.get_or_insert(*outcome);
            }
        }
    }
    let mut taken = BTreeSet::new();
    for stack in &mut all.stacks {
        let plain = stack.target.clone();
        for number in 2.. {
            if taken.insert(stack.target.clone()) {
                break;
            }
            let cut: String = plain.chars().take(58).collect();
            stack.target = format!("{cut}-{number}");
        }
    }
    match first {
        Some(outcome) if all.stacks.is_empty() => outcome,
        _ => Outcome::Solved(all),
    }
}

/// The stacks of one part: those of the newest Python that has them.
fn stacks_of(part: &Part, project: &Project, matrix: &Matrix) -> Result<Vec<Stack>, Box<Outcome>> {
    let mut failed = None;
    for problem in &part.problems {
        match super::resolve(problem, matrix) {
            Outcome::Solved(resolution) => {
                let mut stacks = resolution.stacks;
                for stack in &mut stacks {
                    stack.findings.extend(part.findings.iter().cloned());
                    stack.findings.extend(pinned_elsewhere(stack, project));
                    if !part.name.is_empty() {
                        stack.target = named(&stack.target, &part.name);
                    }
                }
                return Ok(stacks);
            }
            other => {
                failed.get_or_insert(other);
            }
        }
    }
    match failed {
        Some(Outcome::Unsatisfiable(e)) => Err(Box::new(Outcome::Unsatisfiable(renamed(e, part)))),
        Some(Outcome::Unknown(e)) => Err(Box::new(Outcome::Unknown(renamed(e, part)))),
        // Every part has a problem: one without is left out before.
        _ => Ok(Vec::new()),
    }
}

/// Why a set of options has no answer, in one sentence.
fn why(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Solved(_) => String::new(),
        Outcome::Unsatisfiable(e) | Outcome::Unknown(e) if !e.clash.is_empty() => {
            format!("these clash: {}", e.clash.join("; "))
        }
        Outcome::Unsatisfiable(e) | Outcome::Unknown(e) => {
            e.reasons.first().map_or(String::new(), |reason| reason.message.clone())
        }
    }
}

/// `train` with the extra `cu128` is `train-cu128`: a name is also a build stage and a file.
fn named(target: &str, part: &str) -> String {
    let fits = |c: char| {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }
    };
    let part: String = part.chars().map(fits).collect();
    format!("{target}-{part}").chars().take(63).collect()
}

fn renamed(mut explanation: super::Explanation, part: &Part) -> super::Explanation {
    if !part.name.is_empty() {
        for target in &mut explanation.targets {
            *target = named(target, &part.name);
        }
    }
    explanation
}

/// What a lock of another tool pins, where the answer is something else.
fn pinned_elsewhere(stack: &Stack, project: &Project) -> Option<Finding> {
    let mut pins = project.pins.iter().filter(|pin| pin.name == "torch").peekable();
    let first = *pins.peek()?;
    let release = stack.torch.to_string();
    let same = |pin: &Pin| {
        pin.version.clone().without_local().to_string() == release
            && pin.variant().is_none_or(|variant| variant == stack.variant)
    };
    if pins.any(same) {
        return None;
    }
    Some(
        Finding::new(
            Code::LockStale,
            Severity::Note,
            format!(
                "{} pins torch {}, and the answer is {release}+{}",
                first.place, first.version, stack.variant
            ),
        )
        .at(&first.place)
        .help(format!("ask for --torch {} to stay there", first.version)),
    )
}

impl Part {
    fn asks_the_same(&self, other: &Self) -> bool {
        let head = |problem: &Problem| {
            (
                problem.torch.clone(),
                problem.python.clone(),
                problem.cuda.clone(),
                problem.with.clone(),
            )
        };
        self.problems.len() == other.problems.len()
            && self.problems.iter().zip(&other.problems).all(|(a, b)| head(a) == head(b))
    }
}

/// A project's demands on one platform.
struct Layer<'a> {
    problem: &'a Problem,
    project: &'a Project,
    answer: &'a Answer,
    fixed: &'a Fixed,
    matrix: &'a Matrix,
    platform: Platform,
}

#[derive(Default)]
struct Built {
    problems: Vec<Problem>,
    index: Option<String>,
    /// Why there is nothing to solve, whatever the Python.
    against: Vec<Finding>,
}

impl Layer<'_> {
    fn problems(&self, targets: &[Pool]) -> Built {
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
        for minor in PYTHONS.rev().filter(admits) {
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
            let newest = Setting::new(self.platform, PythonVersion::new(*PYTHONS.end()));
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
                .map(|d| (d.name.clone(), d.place.clone(), d.spec(), d.index.clone()))
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
    fn findings(&self) -> Vec<Finding> {
        if self.fixed.cuda {
            return Vec::new();
        }
        let mut findings = self.project.builds(Some(self.answer));
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
                TorchWish { given: format!("{spec}{label} ({places})"), versions, variant }
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
            .collect();
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
        versions: wish.versions(name),
        local: demands.iter().find_map(|d| d.label()).map(|label| label.to_string()),
        python: None,
        platform: None,
    });
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
