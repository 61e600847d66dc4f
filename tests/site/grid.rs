//! Every question that the page can put, answered by the solver of the program.
//!
//! Few of them are really asked: cards of which the solver reads the same make one class, drivers
//! between two numbers of the matrix make one step, and two things always hold and save the rest. What
//! has no answer has none with one demand more; and the best build for any Python is the best for each
//! Python that has it. `tests/site.rs` puts questions at random to the solver itself and compares.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use gpuseal::domain::{
    DriverSpec, DriverVersion, Fact, Finding, Platform, PythonTag, PythonVersion,
};
use gpuseal::matrix::{Branch, GpuMatch, Matrix};
use gpuseal::report::why::{Chain, Link};
use gpuseal::requirements::{PythonWish, Requirements};
use gpuseal::resolve::case::Driver;
use gpuseal::resolve::{
    Cure, Explanation, Kept, Outcome, Pool, Problem, Resolution, Stack, resolve, solves,
};

use super::cards::{Class, cards};

/// Stands for the card as the user names it.
pub(crate) const GIVEN: &str = "CARD-AS-GIVEN";
/// Stands for its full name.
pub(crate) const NAME: &str = "CARD-BY-NAME";
/// Stands for the driver, as its full number.
pub(crate) const DRIVER: &str = "DRIVER-OF-HOST";
/// Stands for the driver as the user names it: its number, or its branch.
pub(crate) const DRIVER_GIVEN: &str = "DRIVER-AS-GIVEN";
/// Stands for [`implements`] of its branch, with the source.
pub(crate) const BRANCH_FACT: &str = "FACT-OF-BRANCH";
/// Of branches below this one, the first that starts CUDA 12, only those of long-term support since
/// [`OLDEST_LTS`] are offered: the others have been history for years, and the program knows them.
const OLDEST_BRANCH: u16 = 525;
const OLDEST_LTS: u16 = 470;
/// Python 3.8 and older have had no updates since 2024.
const OLDEST_PYTHON: u8 = 9;
/// A Python that fewer releases have files for is too young to choose from a list.
const FEWEST_RELEASES: usize = 4;
/// The two platforms that have CUDA on Linux.
pub(crate) const PLATFORMS: [Platform; 2] = [Platform::LinuxAmd64, Platform::LinuxArm64];

/// A card of the list.
pub(crate) struct Card {
    /// As the program finds it.
    pub(crate) found: GpuMatch,
    /// Other names of it.
    pub(crate) names: Vec<String>,
    /// `Hopper`.
    pub(crate) architecture: String,
    /// Index into [`Grid::classes`].
    pub(crate) class: usize,
    /// What the matrix says of this very card: its capability, and the first driver that lists it.
    pub(crate) facts: Vec<Link>,
}

/// An answer, in the words of the solver.
#[derive(Clone)]
pub(crate) enum Answer {
    /// There is a stack.
    Fits(Box<Stack>, Vec<Link>),
    /// There is none, or none that is known.
    None(Box<Explanation>),
}

/// A driver of the page, and how the answer shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Step {
    /// The first driver of the step.
    pub(crate) from: DriverVersion,
    /// One of the step that stands nowhere in the matrix, so that its text can be told from others.
    pub(crate) asked: DriverVersion,
}

/// Answers for one class, platform and Python.
#[derive(Clone)]
pub(crate) struct Row {
    /// No driver was given.
    pub(crate) open: Arc<Answer>,
    /// By branch, then by step of the class.
    pub(crate) steps: Vec<Vec<(Step, Arc<Answer>)>>,
    /// Bare branches that are not answered like their first data center release.
    pub(crate) bare: Vec<(usize, Arc<Answer>)>,
}

/// Everything.
pub(crate) struct Grid {
    pub(crate) matrix: Matrix,
    pub(crate) cards: Vec<Card>,
    pub(crate) branches: Vec<u16>,
    /// `None`: any.
    pub(crate) pythons: Vec<Option<PythonVersion>>,
    /// By class, platform, Python.
    pub(crate) rows: Vec<[Vec<Row>; 2]>,
}

/// A question as the solver takes it. The only target has no name, so that no text names it.
pub(crate) fn problem(
    card: &GpuMatch,
    driver: Option<DriverVersion>,
    python: Option<PythonVersion>,
    platform: Platform,
    matrix: &Matrix,
) -> Problem {
    let place =
        |version| Driver::place(DriverSpec::Oldest(version), matrix).expect("a known branch");
    let wanted = Requirements { python: python.map(PythonWish::Exact), ..Requirements::default() };
    let mut problem = Problem::place(&wanted, matrix).expect("nothing to place");
    problem.targets.push(Pool {
        name: String::new(),
        gpus: vec![card.clone()],
        driver: driver.map(place),
        platform: Some(platform),
        libc: None,
        module: None,
        kept: None,
    });
    problem
}

/// The answer of the program to exactly this question, with [`DRIVER`] where the driver was.
pub(crate) fn answer(problem: &Problem, matrix: &Matrix) -> Answer {
    match resolve(problem, matrix) {
        Outcome::Solved(found) => fits(found, problem, matrix),
        Outcome::Unsatisfiable(why) | Outcome::Unknown(why) => {
            Answer::None(Box::new(none(why, problem, matrix)))
        }
    }
}

fn fits(mut found: Resolution, problem: &Problem, matrix: &Matrix) -> Answer {
    let mut stack = found.stacks.remove(0);
    stack.alternatives.clear();
    let mut links = Chain::of(&stack, problem, 0, matrix).links;
    for link in &mut links {
        open(&mut link.text, problem);
        if let Some(rest) = link.text.strip_prefix(&format!("yours is {DRIVER}")) {
            link.text = format!("yours is {DRIVER_GIVEN}{rest}");
        }
    }
    stack.findings.iter_mut().for_each(|finding| open_all(finding, problem));
    Answer::Fits(Box::new(stack), links)
}

fn none(mut why: Explanation, problem: &Problem, matrix: &Matrix) -> Explanation {
    let oldest = problem.targets[0].driver.as_ref().and_then(|driver| driver.oldest);
    if let Some(branch) = oldest.and_then(|oldest| matrix.branch(oldest.branch)) {
        let said = implements(branch);
        for fact in why.reasons.iter_mut().flat_map(|reason| &mut reason.facts) {
            if fact.text == said {
                *fact = Fact { text: BRANCH_FACT.into(), source: String::new() };
            }
        }
    }
    for text in &mut why.clash {
        open(text, problem);
        *text = text.replace(DRIVER, DRIVER_GIVEN);
    }
    why.reasons.iter_mut().for_each(|finding| open_all(finding, problem));
    why.cures.iter_mut().for_each(|cure| open(&mut cure.change, problem));
    why
}

/// What is said of a branch in every answer that it decides.
pub(crate) fn implements(branch: &Branch) -> String {
    format!("branch {} implements CUDA {}", branch.branch, branch.cuda)
}

/// Puts [`DRIVER`] in the place of the driver that was asked about. A bare branch stays: its answer is
/// for that branch alone.
fn open(text: &mut String, problem: &Problem) {
    let driver = problem.targets[0].driver.as_ref().filter(|driver| driver.note.is_none());
    if let Some(oldest) = driver.and_then(|driver| driver.oldest) {
        *text = text.replace(&oldest.to_string(), DRIVER);
    }
}

fn open_all(finding: &mut Finding, problem: &Problem) {
    open(&mut finding.message, problem);
    finding.facts.iter_mut().for_each(|fact| open(&mut fact.text, problem));
    finding.help.iter_mut().for_each(|help| open(help, problem));
}

impl Answer {
    /// Word for word.
    fn says_the_same(&self, other: &Self) -> bool {
        let (Self::None(one), Self::None(other)) = (self, other) else { return false };
        let cures = |why: &Explanation| -> Vec<(String, String)> {
            why.cures.iter().map(|cure| (cure.change.clone(), cure.gives.clone())).collect()
        };
        one.unknown == other.unknown
            && one.clash == other.clash
            && one.reasons == other.reasons
            && cures(one) == cures(other)
    }
}

/// Numbers at which an answer may change for any card: where a CUDA starts to be implemented or started.
fn global_steps(matrix: &Matrix) -> Vec<DriverVersion> {
    let cudas = matrix.releases.iter().flat_map(|r| r.variants.iter().filter_map(|v| v.cuda));
    let mut list: Vec<_> = cudas
        .flat_map(|cuda| {
            let linux = Platform::LinuxAmd64;
            [matrix.minor_floor(cuda, linux), matrix.native_driver(cuda, linux)]
        })
        .flatten()
        // A floor that is a bare branch is raised to its first release.
        .flat_map(|v| [Some(v), matrix.branch(v.branch).and_then(|b| b.first_data_center)])
        .flatten()
        .collect();
    list.sort();
    list.dedup();
    list
}

/// The steps of a branch, for a card that was first listed by `first`.
fn steps(branch: u16, global: &[DriverVersion], first: Option<DriverVersion>) -> Vec<Step> {
    let mut from = vec![DriverVersion::of_branch(branch)];
    from.extend(global.iter().copied().chain(first).filter(|v| v.branch == branch));
    from.sort();
    from.dedup_by_key(|v| v.numbers());
    (0..from.len())
        .map(|i| Step { from: from[i], asked: between(from[i], from.get(i + 1)) })
        .collect()
}

/// A driver of `[from, to)` that nobody has released, where there is room for one.
fn between(from: DriverVersion, to: Option<&DriverVersion>) -> DriverVersion {
    let [branch, minor, patch] = from.numbers();
    let far = format!("{branch}.{minor}.{:02}", patch + 777);
    let near = format!("{branch}.{minor}.{:02}", patch + 1);
    let inside = |text: &String| {
        let version: DriverVersion = text.parse().expect("a driver");
        to.is_none_or(|to| version < *to).then_some(version)
    };
    inside(&far).or_else(|| inside(&near)).unwrap_or(from)
}

impl Grid {
    /// Asks everything, on every core.
    pub(crate) fn new() -> Self {
        let matrix = Matrix::embedded();
        let global = global_steps(&matrix);
        let offered = |row: &&Branch| {
            row.branch >= OLDEST_BRANCH || (row.kind == "lts" && row.branch >= OLDEST_LTS)
        };
        let branches: Vec<u16> =
            matrix.branches.iter().filter(offered).map(|row| row.branch).collect();
        let pythons = pythons(&matrix);
        let listed = cards(&matrix);
        let class = |card: &GpuMatch| Class::of(card, &matrix);
        let mut classes: BTreeMap<Class, GpuMatch> = BTreeMap::new();
        for (card, ..) in &listed {
            // A card with a row stands for its class: what the row says of this card alone is cut out.
            let entry = classes.entry(class(card)).or_insert_with(|| card.clone());
            if entry.row.is_none() {
                *entry = card.clone();
            }
        }
        let shared = Shared { matrix: &matrix, pythons: &pythons, explained: Mutex::default() };
        let jobs: Vec<(Class, GpuMatch, Platform)> = classes
            .iter()
            .flat_map(|(class, card)| {
                let card =
                    GpuMatch { given: GIVEN.to_owned(), name: NAME.to_owned(), ..card.clone() };
                PLATFORMS.map(|platform| (class.clone(), card.clone(), platform))
            })
            .collect();
        let done = in_parallel(&jobs, |(class, card, platform)| {
            let steps: Vec<_> = branches.iter().map(|b| steps(*b, &global, class.first)).collect();
            shared.rows(&branches, &steps, class, card, *platform)
        });
        let mut done = done.into_iter();
        let mut rows = Vec::new();
        while let (Some(amd64), Some(arm64)) = (done.next(), done.next()) {
            rows.push([amd64, arm64]);
        }
        let order: Vec<Class> = classes.into_keys().collect();
        let cards = listed
            .into_iter()
            .map(|(found, names, architecture)| {
                let class = order.binary_search(&class(&found)).expect("a class");
                let facts = facts(&found, &rows[class], &matrix);
                Card { found, names, architecture, class, facts }
            })
            .collect();
        Self { matrix, cards, branches, pythons, rows }
    }
}

/// Pythons to choose from.
fn pythons(matrix: &Matrix) -> Vec<Option<PythonVersion>> {
    let mut count: BTreeMap<u8, usize> = BTreeMap::new();
    for release in &matrix.releases {
        let wheels = release.wheels.iter().filter(|w| w.platform == Some(Platform::LinuxAmd64));
        for tag in wheels.flat_map(|w| &w.python) {
            if let PythonTag::CPython { minor, free_threaded: false } = tag {
                *count.entry(*minor).or_default() += 1;
            }
        }
    }
    let known = count
        .into_iter()
        .filter(|(minor, releases)| *minor >= OLDEST_PYTHON && *releases >= FEWEST_RELEASES);
    std::iter::once(None).chain(known.map(|(minor, _)| Some(PythonVersion::new(minor)))).collect()
}

/// What a chain says of this very card.
fn facts(card: &GpuMatch, rows: &[Vec<Row>; 2], matrix: &Matrix) -> Vec<Link> {
    let answers = rows.iter().flatten().map(|row| &row.open);
    let Some(Answer::Fits(stack, _)) =
        answers.map(AsRef::as_ref).find(|answer| matches!(answer, Answer::Fits(..)))
    else {
        return Vec::new();
    };
    let mut stack = stack.clone();
    stack.gpus[0].gpu = card.clone();
    let problem = problem(card, None, Some(stack.python), stack.platform, matrix);
    Chain::of(&stack, &problem, 0, matrix).links.into_iter().filter(own).collect()
}

/// Whether a link is about the card alone.
pub(crate) fn own(link: &Link) -> bool {
    link.link == "gpu"
        || link.source.starts_with("first_listed/")
        || link.text.contains(": known from branch ")
}

/// Runs `work` on every job, the results in their order.
fn in_parallel<J: Sync, R: Send>(jobs: &[J], work: impl Fn(&J) -> R + Sync) -> Vec<R> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(job) = jobs.get(at) else { break };
                    let result = work(job);
                    done.lock().expect("no panic").push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no panic");
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// What all jobs share.
struct Shared<'m> {
    matrix: &'m Matrix,
    pythons: &'m [Option<PythonVersion>],
    /// Why nothing fits, for cards that are driven already: the same for all of a kin.
    explained: Mutex<BTreeMap<String, Arc<Answer>>>,
}

impl Shared<'_> {
    fn rows(
        &self,
        branches: &[u16],
        steps: &[Vec<Step>],
        class: &Class,
        card: &GpuMatch,
        platform: Platform,
    ) -> Vec<Row> {
        let bare = |at: &usize| class.first.is_some_and(|first| first.branch == branches[*at]);
        let bare: Vec<usize> = (0..branches.len()).filter(bare).collect();
        // The open question, bare branches whose first release is not all, then every step.
        let mut drivers = vec![None];
        drivers.extend(bare.iter().map(|at| Some(DriverVersion::of_branch(branches[*at]))));
        let alone = drivers.len();
        drivers.extend(steps.iter().flatten().map(|step| Some(step.asked)));
        let asked = |python| -> Vec<Problem> {
            let each = |driver: &Option<DriverVersion>| {
                problem(card, *driver, python, platform, self.matrix)
            };
            drivers.iter().map(each).collect()
        };
        let any = asked(None);
        let best: Vec<_> = any.iter().map(|problem| solves(problem, self.matrix)).collect();
        let all = self.fill(class, &any, alone, |i| {
            best[i].clone().map(|found| Arc::new(fits(found, &any[i], self.matrix)))
        });
        let rows = self.pythons.iter().map(|python| {
            let answers = match *python {
                None => all.clone(),
                Some(python) => {
                    let exact = asked(Some(python));
                    // Steps that share an explanation share what becomes of it.
                    let derived = Mutex::new(BTreeMap::new());
                    self.fill(class, &exact, alone, |i| {
                        let Some(found) = &best[i] else {
                            let mut derived = derived.lock().expect("no panic");
                            let key = Arc::as_ptr(&all[i]) as usize;
                            let make = || self.also_none(&all[i], python);
                            return derived.entry(key).or_insert_with(make).clone();
                        };
                        let stack = &found.stacks[0];
                        let mut hinted = exact[i].clone();
                        hinted.targets[0].kept = Some(Kept {
                            torch: stack.torch,
                            variant: stack.variant,
                            python,
                            packages: BTreeMap::new(),
                        });
                        let found = solves(&hinted, self.matrix)?;
                        Some(Arc::new(fits(found, &exact[i], self.matrix)))
                    })
                }
            };
            let mut answers = answers.into_iter();
            let mut next = || answers.next().expect("an answer to each question");
            let open = next();
            let bare = bare.iter().map(|at| (*at, next())).collect();
            let steps = steps
                .iter()
                .map(|steps| steps.iter().map(|step| (*step, next())).collect())
                .collect();
            Row { open, steps, bare }
        });
        rows.collect()
    }

    /// Answers to all questions; where `known` has none, why. Between two drivers of which the same is
    /// said, and no answer between them, nothing else is said.
    fn fill(
        &self,
        class: &Class,
        problems: &[Problem],
        alone: usize,
        known: impl Fn(usize) -> Option<Arc<Answer>>,
    ) -> Vec<Arc<Answer>> {
        let mut answers: Vec<Option<Arc<Answer>>> = (0..problems.len()).map(known).collect();
        let explain = |i: usize| self.explain(class, &problems[i]);
        for (i, answer) in answers.iter_mut().enumerate().take(alone) {
            answer.get_or_insert_with(|| explain(i));
        }
        let mut at = alone;
        while at < answers.len() {
            if answers[at].is_some() {
                at += 1;
                continue;
            }
            let end = (at..answers.len()).find(|i| answers[*i].is_some()).unwrap_or(answers.len());
            let mut open = vec![(at, end - 1)];
            while let Some((low, high)) = open.pop() {
                let (first, last) = (
                    answers[low].get_or_insert_with(|| explain(low)).clone(),
                    answers[high].get_or_insert_with(|| explain(high)).clone(),
                );
                if first.says_the_same(&last) {
                    answers[low..high].fill(Some(first));
                } else if low + 1 < high {
                    let middle = usize::midpoint(low, high);
                    open.extend([(low, middle), (middle, high)]);
                }
            }
            at = end;
        }
        answers.into_iter().map(|answer| answer.expect("filled")).collect()
    }

    /// Why nothing fits, from the program.
    fn explain(&self, class: &Class, problem: &Problem) -> Arc<Answer> {
        // Below the driver that first lists a card, the card itself is the reason.
        let pool = &problem.targets[0];
        let driver = pool.driver.as_ref();
        let oldest = driver.and_then(|driver| driver.oldest);
        let first = class.first.filter(|first| oldest.is_none_or(|d| d < *first));
        let driver = driver.map(|driver| driver.spec);
        let key = format!(
            "{:?} {first:?} {driver:?} {:?} {:?}",
            class.kin, pool.platform, problem.python
        );
        if let Some(known) = self.explained.lock().expect("no panic").get(&key) {
            return Arc::clone(known);
        }
        let answer = Arc::new(answer(problem, self.matrix));
        self.explained.lock().expect("no panic").insert(key, Arc::clone(&answer));
        answer
    }

    /// Where nothing fits whatever the Python, nothing fits one of them: the same clash, and the same
    /// changes if they help this Python too.
    fn also_none(&self, why: &Arc<Answer>, python: PythonVersion) -> Option<Arc<Answer>> {
        let Answer::None(all) = why.as_ref() else { return None };
        if all.unknown {
            return None;
        }
        let with_python = |cure: &Cure| {
            let problem =
                Problem { python: Some(PythonWish::Exact(python)), ..cure.problem.clone() };
            let found = solves(&problem, self.matrix)?;
            let stack = &found.stacks[0];
            let gives = format!("torch {}+{} on Python {python}", stack.torch, stack.variant);
            Some(Cure { gives, problem, ..cure.clone() })
        };
        let cures = all.cures.iter().map(with_python).collect::<Option<Vec<_>>>()?;
        Some(Arc::new(Answer::None(Box::new(Explanation { cures, ..all.as_ref().clone() }))))
    }
}
