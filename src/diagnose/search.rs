//! The nearest build of torch that runs in a situation.

use super::situation::{Situation, TRAIN};
use crate::domain::{Code, CudaVersion, Order as _, Platform, PythonTag, Severity, TorchRelease};
use crate::matrix::{Matrix, Release, Variant};
use crate::resolve::case::Case;
use crate::resolve::judge::{DriverBounds, Judgement};
use crate::resolve::physics::{self, Served};
use crate::resolve::{DriverMode, judge};

/// A build that runs there.
#[derive(Debug, Clone)]
pub(super) struct Found<'m> {
    pub release: &'m Release,
    pub variant: &'m Variant,
    /// How the driver of the text runs it.
    pub mode: Option<DriverMode>,
    bounds: DriverBounds,
    /// Nobody read the Windows file: the code is that of the Linux file of the same build.
    by_sibling: bool,
    /// It has no file for the Python of the text.
    pub python_dropped: bool,
    /// The driver of the text does not run it.
    pub driver_dropped: bool,
}

/// A search in a situation.
pub(super) struct Search<'s, 'm> {
    here: &'s Situation<'m>,
    matrix: &'m Matrix,
    /// Packages to be moved along.
    beside: Vec<String>,
    /// CUDA that was asked for: of two builds of a release the nearer one is better.
    near: Option<CudaVersion>,
    /// Where to begin, when not at the release at hand.
    from: Option<TorchRelease>,
}

impl<'s, 'm> Search<'s, 'm> {
    pub fn new(here: &'s Situation<'m>) -> Self {
        let has = |name: &&&str| here.with.iter().any(|(package, _)| package == **name);
        let beside = TRAIN.iter().filter(has).map(|name| (*name).to_owned()).collect();
        Self { here, matrix: here.matrix, beside, near: None, from: None }
    }

    /// With these packages instead.
    pub fn beside(mut self, names: Vec<String>) -> Self {
        self.beside = names;
        self
    }

    /// Near this CUDA.
    pub fn near(mut self, cuda: Option<CudaVersion>) -> Self {
        self.near = cuda;
        self
    }

    /// From this release on.
    pub fn from(mut self, release: TorchRelease) -> Self {
        self.from = Some(release);
        self
    }

    /// The nearest build that runs and that `wanted` takes: with driver and Python as they are, else
    /// with another driver, else with another Python.
    pub fn nearest(&self, up: bool, wanted: &dyn Fn(&Found<'m>) -> bool) -> Option<Found<'m>> {
        self.first(&self.order(up), wanted)
    }

    fn first(
        &self,
        order: &[&'m Release],
        wanted: &dyn Fn(&Found<'m>) -> bool,
    ) -> Option<Found<'m>> {
        [(true, true), (false, true), (true, false), (false, false)].into_iter().find_map(
            |(driver, python)| {
                // Nothing to let go of.
                if (!driver && self.here.driver.is_none())
                    || (!python && self.here.python.is_none())
                {
                    return None;
                }
                order.iter().find_map(|release| {
                    let mut builds: Vec<Found<'m>> = release
                        .variants
                        .iter()
                        .filter_map(|v| self.judged(release, v, driver, python))
                        .collect();
                    builds.retain(wanted);
                    builds.order_by_key(|found| self.rank(found));
                    builds.into_iter().next()
                })
            },
        )
    }

    /// The first line of releases of which a build runs, its newest patch.
    pub fn lowest(&self) -> Option<Found<'m>> {
        let mut list: Vec<&Release> = self.matrix.releases.iter().collect();
        list.order_by_key(|r| (r.version.line(), std::cmp::Reverse(r.version)));
        self.first(&list, &|_| true)
    }

    /// Whether the build is the one at hand.
    pub fn is_installed(&self, found: &Found<'_>) -> bool {
        self.here.release() == Some(found.release.version)
            && self.here.variant() == Some(found.variant.name)
    }

    /// Whether no build of any release has machine code for all cards, for certain.
    pub fn known_nowhere(&self) -> bool {
        let platform = self.here.place();
        self.matrix.releases.iter().flat_map(|release| &release.variants).all(|variant| {
            let (Some(build), Some(cuda)) = (variant.build(platform), variant.cuda) else {
                return true;
            };
            let compiler = self.matrix.compiler(cuda);
            self.here.cards.iter().any(|card| {
                let served = physics::served(self.matrix, &build.code, compiler, card.capability);
                matches!(served, Served::Nothing | Served::Ptx(_))
            })
        })
    }

    /// Releases by distance: the same, its line, then lines away from it, newest patch first.
    fn order(&self, up: bool) -> Vec<&'m Release> {
        let mut list: Vec<&Release> = self.matrix.releases.iter().collect();
        let Some(from) = self.from.or(self.here.release()) else {
            list.reverse();
            return list;
        };
        let line = |r: &Release| r.version.line();
        let position = |of: (u16, u16)| i32::from(of.0) * 1000 + i32::from(of.1);
        list.order_by_key(|release| {
            let away = position(line(release)) - position(from.line());
            let wrong_way = (up && away < 0) || (!up && away > 0);
            let patch = std::cmp::Reverse(release.version);
            (release.version != from, wrong_way, away.abs(), patch)
        });
        list
    }

    /// Smaller is better, among builds of one release.
    fn rank(&self, found: &Found<'_>) -> impl Ord + use<> {
        let variant = found.variant;
        let unseen = variant.requires.is_none() && !variant.bundled;
        // What PyPI serves on Linux is what most people run.
        let common = found.release.pypi.get(&Platform::LinuxAmd64) == Some(&variant.name);
        let away = self.near.zip(variant.cuda).map(|(near, cuda)| {
            let number = |c: CudaVersion| u32::from(c.major) * 100 + u32::from(c.minor);
            number(near).abs_diff(number(cuda))
        });
        let minor = found.mode == Some(DriverMode::MinorCompat);
        (!variant.official, unseen, minor, away, !common, std::cmp::Reverse(variant.cuda))
    }

    fn case(&self, release: &Release, label: &str, driver: bool, python: bool) -> Case {
        let here = self.here;
        Case {
            torch: format!("{}{label}", release.version).parse().ok(),
            gpus: here.cards.clone(),
            driver: here.driver.clone().filter(|_| driver),
            python: here.python.filter(|_| python),
            libc: here.libc.clone(),
            platform: Some(here.place()),
            ..Case::default()
        }
    }

    /// A build, if it runs with what is kept.
    fn judged(
        &self,
        release: &'m Release,
        variant: &'m Variant,
        driver: bool,
        python: bool,
    ) -> Option<Found<'m>> {
        let cuda = variant.cuda?;
        variant.build(self.here.place())?;
        // A card may ask for another driver, the major of a CUDA need not.
        let old = self.here.driver.as_ref().and_then(|has| has.oldest);
        let floor = physics::driver_floor(self.matrix, cuda, self.here.driver_platform(), false);
        if !driver && cuda.major >= 13 && old.zip(floor).is_some_and(|(has, need)| has < need) {
            return None;
        }
        let case = self.case(release, &format!("+{}", variant.name), driver, python);
        let judged = judge(&case, self.matrix);
        let by_sibling = match runs(&judged) {
            Some(0) => false,
            Some(unread) if unread == self.sibling_serves(variant, &judged) => true,
            _ => return None,
        };
        Some(Found {
            release,
            variant,
            mode: judged.driver.mode,
            bounds: judged.driver.clone(),
            by_sibling,
            python_dropped: !python,
            driver_dropped: !driver,
        })
    }

    /// Cards whose code was not read in the Windows file, and that the Linux file serves.
    fn sibling_serves(&self, variant: &Variant, judged: &Judgement<'_>) -> usize {
        let Some(linux) = variant.build(Platform::LinuxAmd64) else { return 0 };
        let unread = judged.gpus.iter().filter(|gpu| gpu.served == Some(Served::Unknown));
        let serves = |capability| {
            physics::served(self.matrix, &linux.code, None, capability).by_machine_code()
        };
        if self.here.place() != Platform::WindowsAmd64 {
            return 0;
        }
        unread.filter(|gpu| serves(gpu.gpu.capability)).count()
    }

    /// `take torch 2.7.1+cu128, which has ...: pip install ...; it needs driver ...`.
    pub fn take(&self, found: &Found<'m>, why: &str) -> String {
        let (release, variant) = (found.release, found.variant);
        let mut text = format!(
            "take torch {}+{}{why}: {}",
            release.version,
            variant.name,
            self.install(found)
        );
        if found.by_sibling {
            text.push_str("; the code is known from its Linux file, the Windows file was not read");
        }
        if found.driver_dropped || self.here.driver.is_none() {
            text.extend(self.driver(found).map(|need| format!("; it needs {need} or newer")));
        }
        if found.python_dropped
            && let Some(pythons) = self.pythons(release)
        {
            text.push_str("; its files are for Python ");
            text.push_str(&pythons);
        }
        text
    }

    /// The same; where the driver of the text is too old for the card, first of all another driver.
    pub fn take_after_driver(&self, found: &Found<'m>, why: &str) -> Vec<String> {
        let need =
            self.driver(found).filter(|_| found.driver_dropped && self.here.driver.is_some());
        let first = need.map(|need| {
            format!("raise the driver first: this card and build need {need} or newer")
        });
        first.into_iter().chain([self.take(found, why)]).collect()
    }

    /// The build from which on cards are served, where nobody says which torch it is.
    pub fn at_least(&self, found: &Found<'m>, names: &str) -> Vec<String> {
        /// Releases before it have no file for a Python that is still looked after.
        const OLD: TorchRelease = TorchRelease { major: 2, minor: 4, patch: 0 };
        if found.release.version < OLD {
            let (release, variant) = (found.release.version, found.variant.name);
            return vec![format!(
                "torch {release}+{variant} and newer CUDA builds have machine code for {names}: what fails is older, or is not torch itself"
            )];
        }
        let mut lines =
            self.take_after_driver(found, &format!(", which has machine code for {names}"));
        if let Some(line) = lines.last_mut() {
            let name = format!("take torch {}+{}", found.release.version, found.variant.name);
            *line = line.replacen(&name, &format!("{name} or newer"), 1);
        }
        lines
    }

    /// A build by its index alone, where nobody says which torch it is.
    pub fn build_of_index(&self, found: &Found<'m>, why: &str) -> String {
        let variant = found.variant.name;
        format!(
            "take a CUDA build of torch, {variant}{why}: pip install --force-reinstall torch{} --index-url https://download.pytorch.org/whl/{variant}",
            joined(&self.beside.iter().filter(|n| *n != "xformers").cloned().collect::<Vec<_>>())
        )
    }

    /// The oldest driver for a build and the cards. The lists of cards are those of Linux drivers: in
    /// Windows only the branch can be told.
    fn driver(&self, found: &Found<'m>) -> Option<String> {
        let least = found.bounds.min?;
        let platform = self.here.driver_platform();
        if platform != Platform::WindowsAmd64 {
            return Some(format!("driver {least}"));
        }
        let floor = physics::driver_floor(self.matrix, found.variant.cuda?, platform, false)?;
        Some(if least.branch > floor.branch {
            format!("a driver of branch {}", least.branch)
        } else {
            format!("driver {floor}")
        })
    }

    /// The command.
    fn install(&self, found: &Found<'m>) -> String {
        let (release, variant) = (found.release, found.variant);
        let platform = self.here.place();
        let (driver, python) = (!found.driver_dropped, !found.python_dropped);
        // pip holds a build with another label for the one that is asked for: only the label moves it.
        let other = self.here.release() != Some(release.version);
        let on_pypi = release.pypi.get(&platform) == Some(&variant.name);
        if on_pypi && other && self.here.platform.is_some() {
            let case = self.case(release, "", driver, python);
            let (names, left) = self.companions(release, &case, "");
            if left.is_empty() {
                return format!("pip install torch=={}{}", release.version, joined(&names));
            }
        }
        let label = format!("+{}", variant.name);
        let case = self.case(release, &label, driver, python);
        let (names, _) = self.companions(release, &case, &label);
        let (plain_names, of_pytorch): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|n| n.starts_with("xformers"));
        let plain = variant.build(platform).is_some_and(|build| !build.labelled);
        let (shown, force) = if plain {
            ("", if other { "" } else { " --force-reinstall" })
        } else {
            (label.as_str(), "")
        };
        let mut text = format!(
            "pip install torch=={}{shown}{} --index-url https://download.pytorch.org/whl/{}{force}",
            release.version,
            joined(&of_pytorch),
            variant.name
        );
        if let Some(package) = plain_names.first() {
            text.push_str(", then pip install ");
            text.push_str(package);
        }
        text
    }

    /// Packages that move along, as requirements, and those of which no version goes with it.
    fn companions(
        &self,
        release: &Release,
        case: &Case,
        label: &str,
    ) -> (Vec<String>, Vec<String>) {
        let (mut names, mut left) = (Vec::new(), Vec::new());
        for name in &self.beside {
            let train = release.train.get(name);
            // What is installed stays where it belongs.
            let has = self.here.with.iter().find(|(package, _)| package == name);
            let has = has.and_then(|(_, version)| version.split('+').next()).filter(|version| {
                train.is_some_and(|t| t.exact.iter().chain(&t.open).any(|v| v == version))
            });
            let versions = train
                .into_iter()
                .flat_map(|train| train.exact.iter().rev().chain(train.open.iter().rev()));
            let label = if name == "xformers" { "" } else { label };
            let fits = has
                .into_iter()
                .chain(versions.map(String::as_str))
                .map(|version| format!("{version}{label}"))
                .find(|version| super::advice::goes_with(case, name, version, self.matrix));
            match fits {
                Some(version) => names.push(format!("{name}=={version}")),
                None => left.push(name.clone()),
            }
        }
        (names, left)
    }

    /// Moves the packages beside torch to the build that is installed.
    pub fn move_companions(&self, release: &'m Release, variant: &Variant) -> Option<String> {
        let label = format!("+{}", variant.name);
        let case = self.case(release, &label, true, true);
        let (names, _) = self.companions(release, &case, &label);
        let (plain_names, of_pytorch): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|n| n.starts_with("xformers"));
        let mut commands = Vec::new();
        if !of_pytorch.is_empty() {
            commands.push(format!(
                "pip install {} --index-url https://download.pytorch.org/whl/{}",
                of_pytorch.join(" "),
                variant.name
            ));
        }
        commands.extend(plain_names.first().map(|package| format!("pip install {package}")));
        (!commands.is_empty()).then(|| {
            format!(
                "take what belongs to torch {}{label}: {}",
                release.version,
                commands.join(", then ")
            )
        })
    }

    /// `3.9 to 3.13`
    pub fn pythons(&self, release: &Release) -> Option<String> {
        let minors = || {
            let wheels = release.wheels.iter().filter(|w| w.platform == Some(self.here.place()));
            wheels.flat_map(|w| &w.python).filter_map(|tag| match tag {
                PythonTag::CPython { minor, free_threaded: false } => Some(*minor),
                _ => None,
            })
        };
        Some(format!("3.{} to 3.{}", minors().min()?, minors().max()?))
    }
}

fn joined(names: &[String]) -> String {
    names.iter().flat_map(|name| [" ", name]).collect()
}

/// Whether a combination runs by machine code: `None` where something stands against it, else how many
/// cards are left of which the code was not read.
fn runs(judged: &Judgement<'_>) -> Option<usize> {
    let unread = judged.gpus.iter().filter(|gpu| gpu.served == Some(Served::Unknown)).count();
    let mut unknown = 0;
    for finding in &judged.findings {
        match finding.severity {
            Severity::Error => return None,
            Severity::Unknown => unknown += 1,
            _ if finding.code == Code::OkViaPtxJit => return None,
            _ => (),
        }
    }
    (unknown == unread).then_some(unread)
}
