//! Files, digests and images of a lock: what the old lock knows, then what indexes and registries say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use pep440_rs::Version;
use url::Url;

use super::deps;
use super::watch::{Watch, bytes};
use crate::cli::args::{Format, Lock};
use crate::cli::asked::Asked;
use crate::cli::output::Output;
use crate::closure::{self, Ask, Closure, Inspected, Known, Memory, Step, Wish};
use crate::domain::{Code, Finding, Severity, normalise_name};
use crate::error::Error;
use crate::index::page;
use crate::lock::{
    Fetched, Image, Index, Lockfile, Mirrored, Origin, Repository, Tag, Target, Upgrade,
};
use crate::matrix::Matrix;
use crate::net::registry::{self, Credentials, Registries, Wanted};
use crate::net::{self, Cache, Client, Keyring, settings, wheel};
use crate::requirements::Mirrors;

/// Questions under way at a time; the client lets fewer through.
const AT_ONCE: usize = 64;

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
fn written(mirrors: &Mirrors) -> Result<BTreeMap<Mirrored, crate::lock::Standin>, Error> {
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
    let mut state = State { known: Known::default(), files: BTreeMap::new() };
    let images = images(job, &found.lock, watch);
    let files = files(job, found.lock.targets.clone(), &sources, &mut state, watch);
    // Both at a time: registries are other machines than indexes.
    let (files, digests) = tokio::join!(files, images);
    let (filled, offline) = files?;
    for (index, (target, findings, notes)) in filled {
        found.findings.extend(findings.into_iter().map(|f| (target.name.to_string(), f)));
        found.notes.extend(notes);
        found.lock.targets[index] = target;
    }
    found.notes.extend(offline);
    for ((repository, tag, platform), digest) in digests? {
        for target in found.lock.targets.iter_mut().filter(|t| t.platform == platform) {
            set_digest(target, &repository, &tag, &digest);
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

/// Answers, and the files that pages name, by their addresses.
struct State {
    known: Known,
    files: BTreeMap<(Index, String), page::File>,
}

/// A filled target, where its files and the matrix disagree, and what is worth knowing.
type Filled = (Target, Vec<Finding>, Vec<String>);

/// Every target with its files; and why some are left without, offline.
async fn files(
    job: &Job<'_>,
    targets: Vec<Target>,
    sources: &Sources,
    state: &mut State,
    watch: &Watch,
) -> Result<(BTreeMap<usize, Filled>, Vec<String>), Error> {
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
    let mut open: BTreeSet<usize> = (0..groups.len()).collect();
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
                            flying.push(answer(job, state.question(ask)?, sources));
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

/// A question with all that it takes to put it.
enum Question {
    Page(Index, String),
    File(Index, Box<page::File>),
}

/// What an ask came to.
enum Answer {
    Page(Index, String, page::Page),
    File(String, Inspected),
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
            Answer::File(url, inspected) => _ = self.known.files.insert(url, inspected),
        }
    }
}

async fn answer(job: &Job<'_>, question: Question, sources: &Sources) -> Result<Answer, Error> {
    match question {
        Question::Page(index, name) => {
            let url = sources.page_url(job, index, &name)?;
            let page = match sources.client(index).page(&url, page::ACCEPT).await {
                Ok(page) => page::read(&page.body, page.content_type.as_deref(), &page.url)
                    .map_err(|why| Error::Page { url: net::masked(&url), why: Box::new(why) })?,
                // No such package there. The PyTorch wheel index says 403 for it.
                Err(net::Error::NotFound { .. }) => page::Page::empty(),
                Err(net::Error::Denied { signed: false, status: 403, .. })
                    if index != Index::Pypi =>
                {
                    page::Page::empty()
                }
                Err(err) => return Err(err.into()),
            };
            Ok(Answer::Page(index, name, page))
        }
        Question::File(index, file) => {
            let url = file.url.to_string();
            let deep = file.name.starts_with("torch-");
            let cache = sources.cache.as_ref();
            let told = wheel::tell(sources.client(index), cache, &file, deep).await?;
            Ok(Answer::File(
                url,
                Inspected {
                    metadata: told.metadata,
                    size: told.size,
                    sha256: told.sha256,
                    origin: if told.hashed_here { Origin::Download } else { Origin::Index },
                    build: told.build,
                    codes: told.codes,
                },
            ))
        }
    }
}

/// The indexes, and who asks them.
struct Sources {
    cache: Option<Cache>,
    pypi: Client,
    pytorch: Client,
    /// The root of the PyTorch wheel index.
    pytorch_url: Option<Url>,
    /// The root of PyPI, once it is needed.
    pypi_url: std::sync::OnceLock<settings::PypiAddress>,
}

impl Sources {
    fn new(job: &Job<'_>, watch: &Arc<Watch>) -> Result<Self, Error> {
        let args = job.args;
        let folder = args.cache_dir.clone().or_else(Cache::default_folder);
        let cache = folder.filter(|_| !args.no_cache).map(Cache::at);
        let mirrors = &job.asked.wanted.mirrors;
        let client = |mirror: Option<&str>| -> Result<Client, Error> {
            let fence = mirror.map(root).transpose()?;
            Ok(Client::new(net::Options {
                offline: args.offline,
                cache: cache.clone(),
                fence: fence.and_then(|url| net::Origin::of(&url)).map(|origin| vec![origin]),
                watcher: watch.clone(),
                keyring: keyring(),
                retries: args.retries,
                read_timeout: Duration::from_secs(args.timeout),
                connect_timeout: Duration::from_secs(args.timeout.min(10)),
                total: Duration::from_secs(args.timeout * 4),
                ..net::Options::default()
            })?)
        };
        Ok(Self {
            pypi: client(mirrors.pypi.as_deref())?,
            pytorch: client(mirrors.pytorch.as_deref())?,
            pytorch_url: mirrors.pytorch.as_deref().map(root).transpose()?,
            pypi_url: std::sync::OnceLock::new(),
            cache,
        })
    }

    fn client(&self, index: Index) -> &Client {
        match index {
            Index::Pypi => &self.pypi,
            Index::Pytorch(_) => &self.pytorch,
        }
    }

    fn traffic(&self) -> net::Traffic {
        let (a, b) = (self.pypi.traffic(), self.pytorch.traffic());
        net::Traffic {
            requests: a.requests + b.requests,
            bytes: a.bytes + b.bytes,
            cached: a.cached + b.cached,
        }
    }

    fn notes(&self) -> Vec<String> {
        self.pypi_url.get().map(|address| address.notes.clone()).unwrap_or_default()
    }

    /// Where PyPI is: its mirror, or where the user's pip and uv look for it.
    fn pypi_url(&self, job: &Job<'_>) -> Result<Url, Error> {
        if let Some(mirror) = &job.asked.wanted.mirrors.pypi {
            return root(mirror);
        }
        if let Some(known) = self.pypi_url.get() {
            return Ok(known.url.clone());
        }
        let look = settings::Look::here(&job.args.wanted.project);
        let address = settings::pypi(&look)?;
        Ok(self.pypi_url.get_or_init(|| address).url.clone())
    }

    /// The page of a package.
    fn page_url(&self, job: &Job<'_>, index: Index, name: &str) -> Result<Url, Error> {
        let root = match (index, &self.pytorch_url) {
            (Index::Pypi, _) => self.pypi_url(job)?,
            (Index::Pytorch(variant), Some(mirror)) => join(mirror, &variant.to_string())?,
            (Index::Pytorch(_), None) => root(&index.url().unwrap_or_default())?,
        };
        join(&root, name)
    }
}

/// An address with a slash at its end, so that pages lie below it.
fn root(text: &str) -> Result<Url, Error> {
    let text = format!("{}/", text.trim_end_matches('/'));
    Url::parse(&text).map_err(|why| Error::usage(format!("`{text}` is no address: {why}")))
}

/// `ROOT/part/`
fn join(root: &Url, part: &str) -> Result<Url, Error> {
    root.join(&format!("{part}/"))
        .map_err(|why| Error::usage(format!("`{part}` cannot stand in an address: {why}")))
}

/// As pip and uv are told: `keyring` is asked for passwords only when they would ask it.
fn keyring() -> Keyring {
    let told = ["UV_KEYRING_PROVIDER", "PIP_KEYRING_PROVIDER"]
        .iter()
        .any(|name| std::env::var(name).is_ok_and(|value| value == "subprocess"));
    if told { Keyring::Subprocess } else { Keyring::Off }
}

type ImageKey = (Repository, Tag, crate::domain::Platform);

/// Images of Linux targets whose digest nobody knows yet.
fn wanted_images(lock: &Lockfile) -> Result<BTreeMap<ImageKey, Wanted>, Error> {
    let mut wanted = BTreeMap::new();
    for target in lock.targets.iter().filter(|target| target.platform.is_linux()) {
        let base = &target.base;
        let own = (&base.repository, &base.tag, &base.digest);
        let others = [&base.builder, &base.uv]
            .into_iter()
            .flatten()
            .map(|image| (&image.repository, &image.tag, &image.digest));
        for (repository, tag, digest) in std::iter::once(own).chain(others) {
            if *digest == Fetched::Unfetched {
                let image = Wanted::parse(repository.as_str(), tag.as_str(), target.platform)?;
                wanted.insert((repository.clone(), tag.clone(), target.platform), image);
            }
        }
    }
    Ok(wanted)
}

async fn images(
    job: &Job<'_>,
    lock: &Lockfile,
    watch: &Arc<Watch>,
) -> Result<Vec<(ImageKey, Fetched)>, Error> {
    if job.args.no_images || job.args.offline {
        return Ok(Vec::new());
    }
    let wanted = wanted_images(lock)?;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let registries = Registries::new(registry::Options {
        mirrors: job.asked.wanted.mirrors.registries.clone(),
        credentials: Credentials::of(
            |name| std::env::var_os(name),
            std::env::home_dir().as_deref(),
        ),
        watcher: watch.clone(),
        limits: registry::Limits {
            connect: Duration::from_secs(job.args.timeout.min(10)),
            read: Duration::from_secs(job.args.timeout),
            whole: Duration::from_secs(job.args.timeout * 2),
            retries: job.args.retries,
            ..registry::Limits::default()
        },
    })?;
    let registries = &registries;
    let mut answers = futures_util::stream::iter(wanted)
        .map(|(key, image)| async move {
            let found = registries.digest(&image).await?;
            Ok::<_, Error>((key, Fetched::Digest(found.digest)))
        })
        .buffer_unordered(AT_ONCE);
    let mut all = Vec::new();
    while let Some(answer) = answers.next().await {
        all.push(answer?);
    }
    Ok(all)
}

fn set_digest(target: &mut Target, repository: &Repository, tag: &Tag, digest: &Fetched) {
    let base = &mut target.base;
    if (&base.repository, &base.tag) == (repository, tag) {
        base.digest = digest.clone();
    }
    for image in [&mut base.builder, &mut base.uv].into_iter().flatten() {
        if (&image.repository, &image.tag) == (repository, tag) {
            image.digest = digest.clone();
        }
    }
}
