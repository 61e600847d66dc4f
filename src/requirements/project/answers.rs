//! Options that exclude each other stay apart: each possible set of them is an answer of its own.

use std::collections::{BTreeMap, BTreeSet};

use pep440_rs::VersionSpecifiers;

use super::compare::{Ranged, builds_differ, contradict, meet};
use super::demand::{By, Choice, CudaSaid, Demand, Kind, Project, PythonSaid};
use super::marker::Marker;
use super::reader::of_pytorch;
use crate::domain::{Gather as _, Place, Setting, WheelVariant};

/// Answers that are made; a project with more of them is asked to choose.
const MAX_ANSWERS: usize = 24;
/// Options that are compared with each other.
const MAX_OPTIONS: usize = 64;
/// Lines of one option that are compared with those of another.
const MAX_COMPARED: usize = 40;
/// Sets of options that are tried.
const MAX_STEPS: usize = 20_000;

/// The project with one set of its options chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Options that belong to it.
    pub choices: Vec<Choice>,
    /// Those of them that exclude others: what it is called by.
    pub named: Vec<Choice>,
}

/// What says which build, with everything needed to compare and to show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<'a> {
    /// What says it.
    pub by: By,
    /// The build.
    pub variant: WheelVariant,
    /// Package that it is said of; empty: all of them.
    pub package: &'a str,
    /// As written.
    pub given: &'a str,
    /// Where it applies.
    pub marker: &'a Marker,
    /// Option of the project that it belongs to.
    pub choice: Option<&'a Choice>,
    /// Where it stands.
    pub place: &'a Place,
    /// The demand that says it; `None`: a line of its own.
    pub demand: Option<&'a Demand>,
}

impl Said<'_> {
    /// What counts first: what is said of torch, or of all, before what is said of another package;
    /// then the index before the label, the address and the configuration.
    pub fn rank(&self) -> (bool, By) {
        (!["torch", ""].contains(&self.package), self.by)
    }
}

/// What each option says: of versions, and of builds.
type Sides<'a> = BTreeMap<&'a Choice, (Vec<Ranged<'a>>, Vec<&'a Said<'a>>)>;

/// What one environment is asked to hold.
#[derive(Debug, Clone, Default)]
pub struct Wish<'a> {
    /// Demands that apply there, torch's own included.
    pub demands: Vec<&'a Demand>,
    /// What decides the build.
    pub said: Option<Said<'a>>,
}

impl Answer {
    /// The name of what is chosen; empty for a project without such options.
    pub fn name(&self) -> String {
        self.named.iter().map(Choice::name).collect::<Vec<_>>().join("-")
    }

    /// Whether what belongs to an option belongs to this answer.
    pub fn has(&self, choice: Option<&Choice>) -> bool {
        choice.is_none_or(|choice| self.choices.contains(choice))
    }

    /// Names of its extras, for markers.
    pub fn extras(&self) -> Vec<String> {
        let extra = |choice: &Choice| match choice {
            Choice::Extra(name) => Some(name.clone()),
            _ => None,
        };
        self.choices.iter().filter_map(extra).collect()
    }
}

impl Project {
    /// Every statement about the build: indexes, labels, addresses, keys. Base images are told apart
    /// by [`By::Image`]: they bring a torch of their own.
    pub fn said(&self) -> Vec<Said<'_>> {
        let names = |is: fn(Kind) -> bool| -> BTreeSet<&str> {
            self.demands.iter().filter(|d| is(d.kind)).map(|d| &*d.name).collect()
        };
        let asked = names(|kind| kind != Kind::Constraint);
        let overridden = names(|kind| kind == Kind::Override);
        let of_demand = |demand: &'_ Demand| {
            // The label of another package names the CUDA of its own build, not of torch's.
            let pytorch = of_pytorch(&demand.name);
            let idle = match demand.kind {
                Kind::Constraint => demand.label().is_none() || !asked.contains(&*demand.name),
                Kind::Override => false,
                _ => overridden.contains(&*demand.name),
            };
            if !pytorch || idle {
                return Vec::new();
            }
            demand.variants()
        };
        let mut all = Vec::new();
        for demand in &self.demands {
            for (by, variant) in of_demand(demand) {
                let (given, place) = match (&demand.index, by) {
                    (Some(index), By::Index) => (index.url.as_str(), &index.place),
                    _ => (demand.given.as_str(), &demand.place),
                };
                all.push(Said {
                    by,
                    variant,
                    package: &demand.name,
                    given,
                    marker: &demand.marker,
                    choice: demand.choice.as_ref(),
                    place,
                    demand: Some(demand),
                });
            }
        }
        for said in &self.cuda {
            let Some(variant) = said.variant else { continue };
            let CudaSaid { given, by, package, marker, choice, place, .. } = said;
            all.push(Said {
                by: *by,
                variant,
                package,
                given,
                marker,
                choice: choice.as_ref(),
                place,
                demand: None,
            });
        }
        all
    }

    /// All sets of options that can be installed together and that differ in the build.
    ///
    /// An option that excludes no other is left to the user: an installation without it is whole. Only
    /// where nothing else brings torch, those that do are taken; and all of them in a project of uv,
    /// whose lock holds one version for all that can be installed together.
    ///
    /// `None`: there are more than can be answered; the project has to be asked for some of them.
    pub fn answers(&self) -> Option<Vec<Answer>> {
        let options = self.options();
        if options.len() > MAX_OPTIONS {
            return None;
        }
        let said = self.said();
        let said = self.sides(&said);
        let mut clash: Vec<Vec<bool>> = options
            .iter()
            .map(|a| options.iter().map(|b| a != b && self.exclude(a, b, &said)).collect())
            .collect();
        let torn: Vec<usize> =
            (0..options.len()).filter(|at| clash[*at].iter().any(|c| *c)).collect();
        // Files that stand beside each other are ways to install, of which one takes one.
        let beside = |at: usize| matches!(options[at], Choice::File(_) | Choice::Stage(_));
        for (a, b) in torn.iter().flat_map(|a| torn.iter().map(move |b| (*a, *b))) {
            clash[a][b] |= a != b && beside(a) && beside(b);
        }
        let calm = options.iter().enumerate().filter(|(at, _)| !torn.contains(at));
        let calm: Vec<Choice> = calm.map(|(_, choice)| choice.clone()).collect();
        let mut sets = Vec::new();
        independent(&torn, &clash, &mut Vec::new(), &mut sets, &mut 0)?;
        Some(
            sets.into_iter()
                .map(|set| {
                    let named: Vec<Choice> = set.iter().map(|at| options[*at].clone()).collect();
                    let brought =
                        self.bring_torch(None) || named.iter().any(|c| self.bring_torch(Some(c)));
                    let package = |c: &Choice| matches!(c, Choice::Extra(_) | Choice::Group(_));
                    let needed = calm.iter().filter(|c| {
                        self.joint && package(c) || !brought && self.bring_torch(Some(c))
                    });
                    let mut choices: Vec<Choice> = named.iter().chain(needed).cloned().collect();
                    choices.extend(self.pythons_beside(&choices));
                    Answer { choices, named }
                })
                .collect(),
        )
    }

    /// Options that only say which Python (a pixi feature `py312`) and that go with these: they belong
    /// to them, unless they exclude each other and so leave the Python open.
    fn pythons_beside(&self, choices: &[Choice]) -> Vec<Choice> {
        let apart = |a: &Choice, b: &Choice| {
            a != b && self.conflicts.iter().any(|set| set.contains(a) && set.contains(b))
        };
        let said: BTreeSet<&Choice> = self
            .python
            .iter()
            .filter_map(|p| p.choice.as_ref())
            .filter(|choice| matches!(choice, Choice::Group(_)))
            .gather();
        let fit: Vec<&Choice> = said
            .into_iter()
            .filter(|c| !choices.contains(c) && !choices.iter().any(|own| apart(c, own)))
            .collect();
        let open = fit.iter().any(|a| fit.iter().any(|b| apart(a, b)));
        if open { Vec::new() } else { fit.into_iter().cloned().collect() }
    }

    /// Whether an option, or what is always installed, asks for torch or what is built with it.
    fn bring_torch(&self, choice: Option<&Choice>) -> bool {
        let mine = |d: &&Demand| d.choice.as_ref() == choice && d.kind != Kind::Constraint;
        self.demands.iter().filter(mine).any(|d| of_pytorch(&d.name))
    }

    /// The answer with just these options.
    ///
    /// # Errors
    /// An option that the project has not, or two that exclude each other: message and help.
    pub fn answer(&self, choices: Vec<Choice>) -> Result<Answer, (String, String)> {
        let options = self.options();
        let known: BTreeSet<Choice> = options.iter().cloned().chain(self.silent(&options)).gather();
        let said = self.said();
        let said = self.sides(&said);
        for (at, choice) in choices.iter().enumerate() {
            if !known.contains(choice) {
                let names: Vec<_> = known.iter().map(ToString::to_string).collect();
                let names = if names.is_empty() { "none".into() } else { names.join(", ") };
                return Err((
                    format!("the project has no {choice}"),
                    format!("options with requirements are: {names}"),
                ));
            }
            for other in &choices[..at] {
                if self.exclude(choice, other, &said) {
                    return Err((
                        format!("{other} and {choice} exclude each other"),
                        "ask for one of them".into(),
                    ));
                }
            }
        }
        Ok(Answer { named: Vec::new(), choices })
    }

    /// Options that say something about the packages this program answers for, in order of the files.
    fn options(&self) -> Vec<Choice> {
        let demands = self.demands.iter().filter(|d| of_pytorch(&d.name)).map(|d| &d.choice);
        let cuda = self.cuda.iter().map(|said| &said.choice);
        let mut seen = BTreeSet::new();
        let all = demands.chain(cuda).flatten();
        all.filter(|choice| seen.insert((*choice).clone())).cloned().collect()
    }

    /// The other options. They exclude nothing that matters here.
    fn silent(&self, speaking: &[Choice]) -> BTreeSet<Choice> {
        let all = self.demands.iter().filter_map(|d| d.choice.as_ref());
        all.filter(|choice| !speaking.contains(choice)).cloned().collect()
    }

    /// What each option says.
    fn sides<'a>(&'a self, said: &'a [Said<'a>]) -> Sides<'a> {
        let mut sides = Sides::new();
        for demand in self.demands.iter().filter(|d| of_pytorch(&d.name)) {
            let Some(choice) = &demand.choice else { continue };
            let side = sides.entry(choice).or_default();
            if side.0.len() < MAX_COMPARED {
                side.0.push(Ranged::of(demand));
            }
        }
        for one in said {
            let Some(choice) = one.choice else { continue };
            let side = sides.entry(choice).or_default();
            if side.1.len() < MAX_COMPARED {
                side.1.push(one);
            }
        }
        sides
    }

    /// Whether two options cannot be installed together: declared so, or they contradict each other.
    fn exclude(&self, a: &Choice, b: &Choice, sides: &Sides<'_>) -> bool {
        if self.conflicts.iter().any(|set| set.contains(a) && set.contains(b)) {
            return true;
        }
        // Poetry's way to say it: `extra == 'cpu' and extra != 'cuda'`.
        let forbids = |a: &Choice, b: &Choice| {
            let Choice::Extra(name) = b else { return false };
            let mut mine = self.demands.iter().filter(|d| d.choice.as_ref() == Some(a));
            mine.any(|d| of_pytorch(&d.name) && d.marker.forbids_extra(name))
        };
        if forbids(a, b) || forbids(b, a) {
            return true;
        }
        let (Some(a), Some(b)) = (sides.get(a), sides.get(b)) else { return false };
        let versions = a.0.iter().any(|x| b.0.iter().any(|y| x.contradicts(y)));
        let differ =
            |x: &Said<'_>, y: &Said<'_>| x.variant != y.variant && x.marker.meets(y.marker);
        versions || a.1.iter().any(|x| b.1.iter().any(|y| differ(x, y)))
    }

    /// A file that two others include is read twice: one reading of a line is enough, and it is the
    /// one that knows the index.
    fn once(&mut self) {
        let key = |d: &Demand| {
            let marker = d.marker.text().map(str::to_owned);
            (d.place.clone(), d.name.clone(), d.choice.clone(), marker)
        };
        let placed: BTreeSet<_> =
            self.demands.iter().filter(|d| d.index.is_some()).map(key).gather();
        let mut seen = BTreeSet::new();
        self.demands.retain(|d| {
            let first = seen.insert((key(d), d.index.as_ref().map(|i| i.url.clone())));
            first && (d.index.is_some() || !placed.contains(&key(d)))
        });
    }

    /// A file that stands beside others of its kind, or a stage that is no part of the last one, is an
    /// alternative to the main one where they cannot meet: then that one is a choice as well.
    pub fn settle(&mut self) {
        self.once();
        let kind = |project: &Self, file: &str| {
            project.files.iter().find(|f| f.name == file).map(|f| f.what)
        };
        let mut alternatives: Vec<(Choice, Vec<usize>)> = Vec::new();
        for (at, demand) in self.demands.iter().enumerate() {
            let Some(choice @ (Choice::File(_) | Choice::Stage(_))) = &demand.choice else {
                continue;
            };
            match alternatives.iter_mut().find(|(known, _)| known == choice) {
                Some((_, list)) => list.push(at),
                None => alternatives.push((choice.clone(), vec![at])),
            }
        }
        let mut main: BTreeSet<String> = BTreeSet::new();
        for (_, list) in &alternatives {
            for demand in list.iter().map(|at| &self.demands[*at]).filter(|d| of_pytorch(&d.name)) {
                let beside = self.demands.iter().filter(|base| {
                    base.choice.is_none()
                        && of_pytorch(&base.name)
                        && !main.contains(&base.place.file)
                        && kind(self, &base.place.file) == kind(self, &demand.place.file)
                });
                let torn: Vec<String> = beside
                    .filter(|base| contradict(base, demand) || builds_differ(base, demand))
                    .map(|base| base.place.file.clone())
                    .collect();
                main.extend(torn);
            }
        }
        for file in main {
            // Of a Dockerfile it is the last stage, which has a name now and then.
            let stage = self.images.iter().rev().find(|image| image.place.file == file);
            let choice = match stage.and_then(|image| image.stage.clone()) {
                Some(stage) => Choice::Stage(stage),
                None => Choice::File(file.clone()),
            };
            let label = |own: &mut Option<Choice>, place: &Place| {
                if own.is_none() && place.file == file {
                    *own = Some(choice.clone());
                }
            };
            self.demands.iter_mut().for_each(|d| label(&mut d.choice, &d.place));
            self.cuda.iter_mut().for_each(|c| label(&mut c.choice, &c.place));
            self.python.iter_mut().for_each(|p| label(&mut p.choice, &p.place));
        }
    }

    /// What an environment is asked to hold with the options of an answer.
    pub fn wish(&self, answer: &Answer, setting: &Setting) -> Wish<'_> {
        let extras = answer.extras();
        let applies = |marker: &Marker, choice: Option<&Choice>| {
            answer.has(choice) && marker.holds(setting, &extras)
        };
        let mut demands: Vec<&Demand> = self
            .demands
            .iter()
            .filter(|d| !d.name.is_empty() && applies(&d.marker, d.choice.as_ref()))
            .collect();
        let overridden: BTreeSet<&str> =
            demands.iter().filter(|d| d.kind == Kind::Override).map(|d| d.name.as_str()).gather();
        // What a base image brings is replaced by what is installed over it.
        let installed: BTreeSet<&str> = demands
            .iter()
            .filter(|d| d.kind != Kind::Constraint && !self.is_image(&d.place))
            .map(|d| d.name.as_str())
            .gather();
        let wanted: BTreeSet<&str> =
            demands.iter().filter(|d| d.kind != Kind::Constraint).map(|d| d.name.as_str()).gather();
        // A line of another manifest that an option of the package replaces.
        let chosen: Vec<&Demand> = demands.iter().filter(|d| d.choice.is_some()).copied().collect();
        demands.retain(|d| {
            d.choice.is_some()
                || !chosen.iter().any(|c| c.name == d.name && contradict(c, d) && !meet(*c, *d))
        });
        demands.retain(|d| {
            let name = d.name.as_str();
            wanted.contains(name)
                && (!overridden.contains(name) || d.kind == Kind::Override)
                && (!self.is_image(&d.place) || !installed.contains(name))
        });
        // A line that does not count for its package says nothing about the build either.
        let counts = |said: &Said<'_>| match said.demand {
            Some(demand) => demands.iter().any(|kept| std::ptr::eq(*kept, demand)),
            None => said.by != By::Image || demands.iter().any(|d| d.place == *said.place),
        };
        let said = self
            .said()
            .into_iter()
            .filter(|said| applies(said.marker, said.choice) && counts(said))
            .min_by_key(Said::rank);
        Wish { demands, said }
    }

    /// The line that limits the project to other environments than this one.
    pub fn limited(&self, setting: &Setting) -> Option<&Place> {
        let mut own = self.environments.iter().filter(|one| !one.required).peekable();
        let first = &own.peek()?.place;
        (!own.any(|one| one.marker.holds(setting, &[]))).then_some(first)
    }

    /// What is said about Python there.
    pub fn python_of(&self, answer: &Answer) -> Vec<&PythonSaid> {
        self.python.iter().filter(|said| answer.has(said.choice.as_ref())).collect()
    }

    /// Whether a line names a base image.
    pub fn is_image(&self, place: &Place) -> bool {
        self.images.iter().any(|image| image.place == *place)
    }
}

impl Wish<'_> {
    /// Versions of a package that all demands admit, in PEP 440's words, without labels.
    pub fn versions(&self, name: &str) -> VersionSpecifiers {
        let mut all: Vec<pep440_rs::VersionSpecifier> = Vec::new();
        for demand in self.demands.iter().filter(|d| d.name == name) {
            // The tag of a repository names its release.
            let tag = demand.link.as_ref().filter(|l| l.vcs).and_then(|l| l.version.clone());
            let tag = tag.map(pep440_rs::VersionSpecifier::equals_version);
            let asked = super::demand::public_only(&demand.versions);
            for spec in asked.iter().chain(&tag) {
                if !all.contains(spec) {
                    all.push(spec.clone());
                }
            }
        }
        all.into_iter().collect()
    }
}

/// All maximal sets of the members without a clash inside, smaller members first.
fn independent(
    torn: &[usize],
    clash: &[Vec<bool>],
    chosen: &mut Vec<usize>,
    sets: &mut Vec<Vec<usize>>,
    steps: &mut usize,
) -> Option<()> {
    *steps += 1;
    if *steps > MAX_STEPS {
        return None;
    }
    let free = |at: &usize, set: &[usize]| set.iter().all(|other| !clash[*at][*other]);
    let last = chosen.last().copied();
    let mut grew = false;
    for at in torn {
        if last.is_none_or(|last| *at > last) && free(at, chosen) {
            grew = true;
            chosen.push(*at);
            independent(torn, clash, chosen, sets, steps)?;
            chosen.pop();
        }
    }
    let maximal = || torn.iter().all(|at| chosen.contains(at) || !free(at, chosen));
    if !grew && maximal() {
        if sets.len() >= MAX_ANSWERS {
            return None;
        }
        sets.push(chosen.clone());
    }
    Some(())
}
