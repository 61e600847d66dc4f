//! Files, digests and images of a lock: what the old lock knows, then what indexes and registries say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::files::files;
use super::images::{images, set_image, wanted_images};
use super::sources::Sources;
use super::watch::Watch;
use crate::cli::args::{Format, Lock};
use crate::cli::asked::Asked;
use crate::cli::output::Output;
use crate::domain::{Finding, normalise_name};
use crate::error::Error;
use crate::lock::{Image, Index, Lockfile, Mirrored, Standin, Target, Upgrade};
use crate::matrix::Matrix;
use crate::report::bytes;
use crate::requirements::Mirrors;

/// What there is to complete.
pub struct Job<'a> {
    pub args: &'a Lock,
    pub asked: &'a Asked,
    pub decided: Lockfile,
    pub old: Option<&'a Lockfile>,
    pub upgrade: &'a Upgrade,
    pub with_deps: bool,
    pub matrix: &'a Matrix,
}

/// A lock as far as it could be completed.
pub struct Found {
    /// The lock.
    pub lock: Lockfile,
    /// Where files say something else than the matrix, by target.
    pub findings: Vec<(String, Finding)>,
    notes: BTreeSet<String>,
    summary: Option<String>,
}

impl Found {
    /// Says what came of it.
    pub fn tell(&self, output: &Output) {
        // Other voices have them in the document.
        for (target, finding) in self.findings.iter().filter(|_| output.format == Format::Human) {
            output.talk(format_args!("warning[{}]: {target}: {}", finding.code, finding.message));
        }
        for note in &self.notes {
            output.talk(format_args!("note: {note}"));
        }
        if let Some(summary) = &self.summary {
            output.talk(summary);
        }
    }
}

/// Completes a lock.
///
/// # Errors
/// Indexes and registries that do not answer, or that have nothing that fits.
pub fn complete(job: &Job<'_>, output: &Output) -> Result<Found, Error> {
    let mirrors = &job.asked.wanted.mirrors;
    let mut lock = job.decided.clone();
    lock.mirrors = written(mirrors)?;
    if let Some(old) = job.old.filter(|_| job.args.offline) {
        // Nobody can be asked where the files are at another place: they stay where they were.
        lock.mirrors.clone_from(&old.mirrors);
    }
    let same_places = job.old.is_some_and(|old| old.mirrors == lock.mirrors);
    for target in &mut lock.targets {
        // Said even where nobody could be asked: the next run with a network makes it true.
        target.with_deps = job.with_deps;
        let old = job.old.and_then(|old| old.target(target.name.as_str()));
        if let Some(old) = old.filter(|_| *job.upgrade != Upgrade::Everything) {
            take_over(target, old, same_places, job);
        }
    }
    let files = lock.targets.iter().any(|target| !target.files_known());
    let images = !job.args.no_images && !job.args.offline && !wanted_images(&lock)?.is_empty();
    let mut found = Found { lock, findings: Vec::new(), notes: BTreeSet::new(), summary: None };
    if !files && !images {
        return Ok(found);
    }
    let watch = Arc::new(Watch::new(output));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        tokio::select! {
            done = fetch(job, &mut found, &watch) => done,
            _ = tokio::signal::ctrl_c() => Err(Error::Interrupted),
        }
    });
    watch.done();
    done.map(|()| found)
}

/// Mirrors as the lock keeps them.
fn written(mirrors: &Mirrors) -> Result<BTreeMap<Mirrored, Standin>, Error> {
    let own = [("pypi", &mirrors.pypi), ("pytorch", &mirrors.pytorch)];
    let own = own.into_iter().filter_map(|(of, at)| Some((of, at.as_ref()?)));
    own.chain(mirrors.registries.iter().map(|(of, at)| (of.as_str(), at)))
        .map(|(of, at)| {
            let held = |text: &str| Error::usage(format!("`mirrors`: {text}"));
            Ok((
                of.parse::<Mirrored>().map_err(|err| held(&err.to_string()))?,
                at.parse().map_err(|err: crate::domain::ParseError| held(&err.to_string()))?,
            ))
        })
        .collect()
}

/// Whether the project asks the same of its other packages, where they are locked too.
fn others_alike(job: &Job<'_>) -> bool {
    let line = |lock: &Lockfile| {
        lock.asked.iter().find(|line| line.as_str().starts_with("other packages: ")).cloned()
    };
    job.old.is_none_or(|old| line(old) == line(&job.decided))
}

/// What an older lock knows of a target that was decided alike.
fn take_over(target: &mut Target, old: &Target, same_places: bool, job: &Job<'_>) {
    let same = |a: &Image, b: &Image| a.repository == b.repository && a.tag == b.tag;
    if (&old.base.repository, &old.base.tag) == (&target.base.repository, &target.base.tag)
        && old.platform == target.platform
    {
        target.base.digest = old.base.digest.clone();
        target.base.size = old.base.size;
    }
    let images =
        [(&mut target.base.builder, &old.base.builder), (&mut target.base.uv, &old.base.uv)];
    for (new, old) in images {
        if let (Some(new), Some(old)) = (new.as_mut(), old)
            && same(new, old)
        {
            new.digest = old.digest.clone();
        }
    }
    // Who accepts another digest has to be told of one.
    let asked_anew = |name: &str| {
        job.upgrade.frees(name) || job.args.accept_hash.iter().any(|n| normalise_name(n) == name)
    };
    let frees = old.packages.iter().any(|package| asked_anew(package.name.as_str()));
    if target.same_choice(old)
        && old.files_known()
        && old.with_deps == job.with_deps
        && others_alike(job)
        && same_places
        && !frees
    {
        target.packages.clone_from(&old.packages);
        target.with_deps = old.with_deps;
        // What the files said of themselves.
        target.toolkit = old.toolkit;
        target.cudnn = old.cudnn;
        target.nccl.clone_from(&old.nccl);
        target.triton.clone_from(&old.triton);
        target.glibc_min = old.glibc_min;
    }
}

async fn fetch(job: &Job<'_>, found: &mut Found, watch: &Arc<Watch>) -> Result<(), Error> {
    let start = Instant::now();
    let sources = Sources::new(job, watch)?;
    let images = images(job, &found.lock, watch);
    let files = files(job, found.lock.targets.clone(), &sources, watch);
    // Both at a time: registries are other machines than indexes.
    let (files, images) = tokio::join!(files, images);
    let (filled, offline) = files?;
    for (index, (target, findings, notes)) in filled {
        found.findings.extend(findings.into_iter().map(|f| (target.name.to_string(), f)));
        found.notes.extend(notes);
        found.lock.targets[index] = target;
    }
    found.notes.extend(offline);
    for ((repository, tag, platform), image) in images? {
        for target in found.lock.targets.iter_mut().filter(|t| t.platform == platform) {
            set_image(target, &repository, &tag, &image);
        }
    }
    found.notes.extend(sources.notes());
    found.summary = summary(&found.lock, &sources, watch, start.elapsed());
    Ok(())
}

/// Files, requests, bytes and time; nothing where no file is known.
fn summary(lock: &Lockfile, sources: &Sources, watch: &Watch, took: Duration) -> Option<String> {
    let mut files: BTreeMap<(Index, &str), u64> = BTreeMap::new();
    for package in lock.targets.iter().flat_map(|target| &target.packages) {
        if let Some(file) = &package.file {
            files.insert((package.index, file.name.as_str()), file.size);
        }
    }
    if files.is_empty() {
        return None;
    }
    let traffic = sources.traffic();
    let (asked, size) = watch.images();
    Some(format!(
        "locked {} file{} of {}: {} request{}, {} fetched, {:.1} s",
        files.len(),
        if files.len() == 1 { "" } else { "s" },
        bytes(files.values().sum()),
        traffic.requests + asked,
        if traffic.requests + asked == 1 { "" } else { "s" },
        bytes(traffic.bytes + size),
        took.as_secs_f64()
    ))
}
