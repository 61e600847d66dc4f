//! A file of torch that an installer did not find: whether it exists, where, for whom, and what comes
//! nearest.

use std::collections::BTreeMap;

use super::Said;
use super::advice::{Advice, JETPACK};
use super::search::{Found, Search};
use super::situation::Situation;
use crate::domain::{Code, Finding, PythonTag, TorchRelease, TorchVersion, WheelVariant};
use crate::matrix::Release;
use crate::resolve::case::{Case, Index};
use crate::resolve::judge;

/// A file that an installer did not find: where it is, and what comes nearest.
pub(super) fn no_file(
    here: &Situation<'_>,
    said: &Said,
    captures: &BTreeMap<String, String>,
) -> Advice {
    if here.foreign {
        return Advice::default();
    }
    // A wheel that was refused, or what is installed, is not what an index was asked for.
    let any = said.asked.iter().any(|asked| asked.name == "torch");
    let torch = asked_torch(said, captures);
    if torch.is_none() && !any {
        return Advice::default();
    }
    let here = &Situation { torch, ..here.clone() };
    let platform = here.place();
    if here.jetson {
        return Advice::of(vec![JETPACK.into()]);
    }
    if !platform.has_cuda() {
        let cuda = here.variant().is_some_and(|variant| variant != WheelVariant::Cpu);
        return if cuda {
            let fix =
                format!("leave out the label: there is no CUDA build of torch for {platform}");
            Advice { code: Some(Code::NoCudaPlatform), fix: vec![fix], ..Advice::default() }
        } else {
            Advice::default()
        };
    }
    let index = here.index.clone();
    let case = Case {
        index,
        gpus: Vec::new(),
        driver: None,
        with: Vec::new(),
        env: Vec::new(),
        ..here.case()
    };
    let judged = judge(&case, here.matrix);
    let code = matches!(
        judged.verdict,
        Code::NoSuchWheel | Code::MissingIndex | Code::PythonUnsupported | Code::GlibcTooOld
    )
    .then_some(judged.verdict);
    let page = match &here.index {
        Some(Index::Variant(variant, _)) => Some(*variant),
        _ => None,
    };
    let wanted = here.variant().or(page).filter(|variant| variant.cuda().is_some());
    let search = Search::new(here).near(wanted.and_then(WheelVariant::cuda));
    let Some(code) = code else {
        return Advice::of(beyond(here, &search, said));
    };
    let finding = judged.findings.iter().find(|f| f.code == code);
    let mut fix: Vec<String> = finding.map(told).into_iter().collect();
    if code == Code::PythonUnsupported && here.variant().is_none() {
        fix.extend(other_python(here));
        return Advice { code: Some(code), fix, ..Advice::default() };
    }
    // A build that exists, for this Python and this platform, of the same name where there is one.
    let cuda = |found: &Found<'_>| wanted.is_none_or(|wanted| found.variant.name == wanted);
    let nearest = search.nearest(true, &|_| true);
    let same_build = search.nearest(true, &cuda);
    for found in [nearest, same_build].into_iter().flatten() {
        let text = search.take(&found, "");
        if !fix.contains(&text) {
            fix.push(text);
        }
    }
    Advice { code: Some(code), fix, ..Advice::default() }
}

/// A finding in one sentence, with what it rests on.
fn told(finding: &Finding) -> String {
    let facts: Vec<_> = finding.facts.iter().map(|fact| fact.text.as_str()).collect();
    let why = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join("; ")) };
    format!("{}{why}", finding.message)
}

/// A release of PyPI without a file for this Python: the nearest that has one, or the Pythons it has.
fn other_python(here: &Situation<'_>) -> Vec<String> {
    let (Some(release), Some(python)) = (here.release(), here.python) else { return Vec::new() };
    let has = |r: &Release, admits: &dyn Fn(PythonTag) -> bool| {
        let wheels = r.wheels.iter().filter(|w| w.platform == Some(here.place()));
        wheels.flat_map(|w| &w.python).any(|tag| admits(*tag))
    };
    let fits = here.matrix.releases.iter().filter(|r| has(r, &|tag| tag.admits(python)));
    let nearest = fits.map(|r| r.version).min_by_key(|version| {
        let position = |v: TorchRelease| i32::from(v.major) * 1000 + i32::from(v.minor);
        (position(*version).abs_diff(position(release)), std::cmp::Reverse(*version))
    });
    let mut fix: Vec<String> = nearest
        .map(|version| format!("take torch {version}, the nearest release with files for Python {python}: pip install torch=={version}"))
        .into_iter()
        .collect();
    let pythons = here.matrix.release(release).and_then(|r| Search::new(here).pythons(r));
    fix.extend(
        pythons
            .map(|pythons| format!("or use Python {pythons}, for which torch {release} has files")),
    );
    fix
}

/// A release that the matrix does not know, or none that was named: what comes nearest, for this Python.
fn beyond(here: &Situation<'_>, search: &Search<'_, '_>, said: &Said) -> Vec<String> {
    let Some(python) = here.python else { return Vec::new() };
    let platform = here.place();
    let line =
        |found: &Found<'_>| search.take(found, &format!(", which has files for Python {python}"));
    if let Some(release) = here.release() {
        // Known, and nothing is wrong with it: the trouble is elsewhere.
        if here.matrix.release(release).is_some() {
            return Vec::new();
        }
        let found = search.nearest(true, &|_| true).filter(|found| !found.python_dropped);
        return found.map(|found| line(&found)).into_iter().collect();
    }
    // `torch`, any version, of an index that holds one build.
    let (Some(Index::Variant(variant, _)), true) =
        (&here.index, said.asked.iter().any(|a| a.name == "torch"))
    else {
        return Vec::new();
    };
    let holds = |r: &&Release| r.variant(*variant).is_some_and(|v| v.build(platform).is_some());
    let Some(last) = here.matrix.releases.iter().rev().find(holds) else { return Vec::new() };
    let has_file = |r: &Release| {
        r.wheels
            .iter()
            .any(|w| w.platform == Some(platform) && w.python.iter().any(|t| t.admits(python)))
    };
    if here.matrix.releases.iter().filter(holds).any(has_file) {
        return Vec::new();
    }
    let newer = here.matrix.release_range().is_some_and(|(_, newest)| newest > last.version);
    let found = Search::new(here).near(variant.cuda()).from(last.version).nearest(newer, &|_| true);
    let ends = format!(
        "the index {variant} ends with torch {}, which has no file for Python {python}",
        last.version
    );
    let line = found.filter(|found| !found.python_dropped).map(|found| line(&found));
    line.map(|line| vec![ends, line]).unwrap_or_default()
}

/// torch as the installer was asked for it.
fn asked_torch(said: &Said, captures: &BTreeMap<String, String>) -> Option<TorchVersion> {
    let named = captures.get("package").is_none_or(|name| name == "torch");
    let wanted = captures.get("wanted").and_then(|text| text.strip_prefix("torch=="));
    let version = captures.get("version").filter(|_| named).map(String::as_str);
    let told = wanted.or(version).and_then(|text| text.parse().ok());
    told.or_else(|| {
        let asked =
            said.asked.iter().find(|asked| asked.name == "torch" && !asked.version.is_empty());
        asked.and_then(|asked| asked.version.parse().ok())
    })
}
