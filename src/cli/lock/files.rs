//! The files of every target: what is walked, what is asked, and what came of it.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use pep440_rs::Version;

use super::deps;
use super::online::Job;
use super::sources::{Answer, Question, Sources};
use super::watch::Watch;
use crate::closure::{self, Ask, Closure, Known, Memory, Step, Wish};
use crate::domain::{Code, Finding, Gather as _, Severity};
use crate::error::Error;
use crate::index::page;
use crate::lock::{Index, Target};
use crate::matrix::Matrix;

/// Answers, and the files that pages name, by their addresses.
#[derive(Default)]
struct State {
    known: Known,
    files: BTreeMap<(Index, String), page::File>,
}

/// A filled target, where its files and the matrix disagree, and what is worth knowing.
pub type Filled = (Target, Vec<Finding>, Vec<String>);

/// Every target with its files; and why some are left without, offline.
pub async fn files(
    job: &Job<'_>,
    targets: Vec<Target>,
    sources: &Sources,
    watch: &Watch,
) -> Result<(BTreeMap<usize, Filled>, Vec<String>), Error> {
    let state = &mut State::default();
    let open = targets.into_iter().enumerate().filter(|(_, target)| !target.files_known());
    let mut groups = groups(job, open.collect());
    let mut left = Vec::new();
    let mut done = BTreeMap::new();
    if job.with_deps && job.args.offline {
        let why = "the project's other packages take uv and a network";
        left.extend(groups.iter().flat_map(|group| group.left(why)));
        return Ok((done, left));
    }
    if job.with_deps {
        // First what is ours, then uv's answer around it, then the files of all.
        for group in &mut groups {
            group.ours_only = true;
        }
        let ours = closures(job, &groups, sources, state, watch, &mut left).await?;
        solve_others(job, &mut groups, &ours, sources, watch, &mut left).await?;
    }
    let closures_of = closures(job, &groups, sources, state, watch, &mut left).await?;
    for (number, group) in groups.iter().enumerate() {
        let Some(closure) = closures_of.get(&number) else { continue };
        if let Some(solved) = &group.solved {
            solved.confirm(closure)?;
        }
        for (index, target) in &group.targets {
            let wish = Wish { target, ..group.wish() };
            let filled = filled(job, &wish, closure.clone())?;
            done.insert(*index, filled);
        }
    }
    Ok((done, left))
}

/// Asks uv about what is not ours, once for all groups that ask alike.
async fn solve_others(
    job: &Job<'_>,
    groups: &mut [Group],
    ours: &BTreeMap<usize, Closure>,
    sources: &Sources,
    watch: &Watch,
    notes: &mut Vec<String>,
) -> Result<(), Error> {
    let pypi = sources.pypi_url(job)?;
    let mut answers: BTreeMap<deps::Written, deps::Solved> = BTreeMap::new();
    for (number, group) in groups.iter_mut().enumerate() {
        let (Some(closure), target) = (ours.get(&number), group.target()) else { continue };
        let name = target.name.to_string();
        let written = deps::Question {
            asked: job.asked,
            target,
            closure,
            old: job.old,
            pypi: &pypi,
            upgrade: job.upgrade,
        }
        .written()?;
        watch.doing(format!("{name}: uv solves the project's other packages"));
        let solved = match answers.get(&written) {
            Some(solved) => solved.clone(),
            None => deps::solve(&written, &name, &pypi).await?,
        };
        if !written.local.is_empty() {
            let names: Vec<_> = written.local.iter().map(String::as_str).collect();
            notes.push(format!(
                "{name}: not locked, because they come from folders of the project: {}",
                names.join(", ")
            ));
        }
        group.solved = Some(solved.clone());
        group.ours_only = false;
        answers.insert(written, solved);
    }
    Ok(())
}

/// Writes a closure into its target.
fn filled(job: &Job<'_>, wish: &Wish<'_>, closure: Closure) -> Result<Filled, Error> {
    let filled = closure::fill(wish, closure)?;
    let mut target = filled.target;
    target.with_deps = job.with_deps;
    let mut findings = Vec::new();
    for disagreement in filled.disagreements {
        if disagreement.fatal {
            return Err(Error::Disagrees {
                target: target.name.to_string(),
                disagreement: Box::new(disagreement),
            });
        }
        findings.push(finding(&disagreement, job.matrix));
    }
    Ok((target, findings, filled.notes))
}

fn finding(disagreement: &closure::Disagreement, matrix: &Matrix) -> Finding {
    let closure::Disagreement { what, matrix: says, file, source, .. } = disagreement;
    Finding::new(
        Code::MatrixMismatch,
        Severity::Warning,
        format!("{what}: the matrix says {says}, the file says {file}; the file wins"),
    )
    .fact(format!("{what} {file}"), format!("artifact: {source}"))
    .fact(format!("{what} {says}"), format!("matrix {}", matrix.id))
    .help("report it: a row of the matrix is to be corrected")
}

/// Targets that need the same files, and are walked once.
struct Group {
    /// By their place in the lock; never empty.
    targets: Vec<(usize, Target)>,
    kept: BTreeMap<String, Version>,
    /// What uv has solved.
    solved: Option<deps::Solved>,
    ours_only: bool,
    memory: Memory,
}

impl Group {
    /// The target that stands for all.
    fn target(&self) -> &Target {
        &self.targets[0].1
    }

    fn wish(&self) -> Wish<'_> {
        Wish {
            target: self.target(),
            kept: self.kept.clone(),
            pins: self.solved.as_ref().map(|solved| solved.versions.clone()).unwrap_or_default(),
            ours_only: self.ours_only,
        }
    }

    /// Why none of them gets its files.
    fn left(&self, why: &str) -> Vec<String> {
        let names = self.targets.iter().map(|(_, target)| target.name.as_str());
        names.map(|name| format!("{name}: files are not fetched: {why}")).collect()
    }
}

fn groups(job: &Job<'_>, open: Vec<(usize, Target)>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (index, target) in open {
        let kept = kept(job, &target);
        let alike = |group: &&mut Group| {
            let one = group.target();
            (one.platform, one.python, one.glibc, one.index)
                == (target.platform, target.python, target.glibc, target.index)
                && one.packages == target.packages
                && group.kept == kept
                // What the project's other packages are is a matter of the target's own options.
                && !job.with_deps
        };
        match groups.iter_mut().find(alike) {
            Some(group) => group.targets.push((index, target)),
            None => groups.push(Group {
                targets: vec![(index, target)],
                kept,
                solved: None,
                ours_only: false,
                memory: Memory::default(),
            }),
        }
    }
    groups
}

/// Versions of the older lock that stay while they are admitted.
fn kept(job: &Job<'_>, target: &Target) -> BTreeMap<String, Version> {
    let old = job.old.and_then(|old| old.target(target.name.as_str()));
    old.iter()
        .flat_map(|old| &old.packages)
        .filter(|package| !job.upgrade.frees(package.name.as_str()))
        .filter_map(|package| {
            let label =
                package.local.as_ref().map_or_else(String::new, |local| format!("+{local}"));
            let version = format!("{}{label}", package.version.as_ref()?).parse().ok()?;
            Some((package.name.to_string(), version))
        })
        .collect()
}

/// Walks every group as far as it goes, asks, and goes on with the first answers that come. Offline, a
/// group that lacks an answer is left as it is.
async fn closures(
    job: &Job<'_>,
    groups: &[Group],
    sources: &Sources,
    state: &mut State,
    watch: &Watch,
    left: &mut Vec<String>,
) -> Result<BTreeMap<usize, Closure>, Error> {
    let mut open: BTreeSet<usize> = (0..groups.len()).gather();
    let mut done = BTreeMap::new();
    let mut asked = BTreeSet::new();
    let mut flying = FuturesUnordered::new();
    let mut unknown: Option<Error> = None;
    loop {
        for number in open.clone() {
            let group = &groups[number];
            match closure::walk(&group.wish(), &state.known, &group.memory) {
                Ok(Step::Ask(asks)) => {
                    for ask in asks {
                        if asked.insert(ask.clone()) {
                            flying.push(sources.answer(job, state.question(ask)?));
                        }
                    }
                }
                Ok(Step::Done(closure)) => {
                    done.insert(number, closure);
                    open.remove(&number);
                }
                // An old page does not know what came since.
                Err(why) if job.args.offline => {
                    left.extend(group.left(&format!("from the cache alone, {why}")));
                    open.remove(&number);
                }
                Err(why) if job.with_deps && why.is_for_uv() => {
                    return Err(Error::Uv {
                        message: format!("{why}, and uv has found no other way"),
                        help: None,
                    });
                }
                Err(why) => return Err(why.into()),
            }
        }
        if open.is_empty() {
            return Ok(done);
        }
        watch.doing(format!("{} questions to the index", flying.len()));
        // The first answer, and what has come with it.
        let mut came = flying.next().await;
        if came.is_none() {
            // What is still asked for has been asked, and nobody knows. All or nothing: half a closure
            // cannot be installed.
            let why = unknown.as_ref().map_or_else(String::new, ToString::to_string);
            left.extend(open.iter().flat_map(|number| groups[*number].left(&why)));
            return Ok(done);
        }
        while let Some(answer) = came {
            match answer {
                Ok(answer) => state.take(answer),
                Err(err) if job.args.offline && err.is_offline() => {
                    unknown.get_or_insert(err);
                }
                Err(err) => return Err(err),
            }
            came = flying.next().now_or_never().flatten();
        }
    }
}

impl State {
    fn question(&self, ask: Ask) -> Result<Question, Error> {
        match ask {
            Ask::Page(index, name) => Ok(Question::Page(index, name)),
            Ask::File(index, url) => match self.files.get(&(index, url.clone())) {
                Some(file) => Ok(Question::File(index, Box::new(file.clone()))),
                None => Err(Error::usage(format!("`{url}` is on no page"))),
            },
        }
    }

    fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Page(index, name, page) => {
                for file in &page.files {
                    self.files.insert((index, file.url.to_string()), file.clone());
                }
                self.known.pages.insert((index, name), page);
            }
            Answer::File(url, inspected) => _ = self.known.files.insert(url, *inspected),
        }
    }
}
