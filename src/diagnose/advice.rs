//! The fix for this very situation, computed from the matrix.
//!
//! Every build that is proposed was judged with the card, driver, Python and C library that the text
//! names, by the function behind `check`. What nothing is known of is not answered.

use std::collections::BTreeMap;

use super::Said;
use super::search::{Found, Search};
use super::situation::{Situation, TRAIN, package};
use crate::domain::{
    Code, DriverSpec, Finding, GpuKind, Order as _, Platform, Severity, WheelVariant,
};
use crate::matrix::{CodeList, Compiler, Matrix};
use crate::resolve::case::{Case, Driver};
use crate::resolve::physics::{self, Served};
use crate::resolve::{DriverMode, judge};

/// What to do, and what the trouble really is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advice {
    /// The code that the matrix gives, where it is sharper than the message's own.
    pub code: Option<Code>,
    /// What to do, cheapest first. Empty: nothing more is known than the message says.
    pub fix: Vec<String>,
    /// The fix names builds or drivers: what the message says of them in general is said better.
    pub instead: bool,
    /// What the text holds speaks against the message's code.
    pub refused: bool,
}

impl Advice {
    pub(super) fn of(fix: Vec<String>) -> Self {
        Self { fix, ..Self::default() }
    }
}

/// The fix for a cause in the situation that a text tells. `captures` are what the message's own
/// pattern filled: `torch`, `variant`, `cuda`, `driver`, `driver_cuda`, `gpu`, `capability`, `python`,
/// `platform`, `nvcc`, `gcc`, `package`, `version`.
pub fn for_cause(
    code: Code,
    said: &Said,
    captures: &BTreeMap<String, String>,
    matrix: &Matrix,
) -> Advice {
    let cpu = (code == Code::CpuOnlyWheel).then(|| without_cuda(said)).flatten();
    let here = Situation::of(cpu.as_ref().unwrap_or(said), captures, matrix);
    if said.alone.is_some() && about_torch(code) {
        return Advice::default();
    }
    let mut advice = match code {
        Code::ArchNotInBinary => Advice::of(no_code(&here)),
        Code::CudnnMismatch => Advice::of(other_cudnn(&here)),
        Code::DriverTooOld => Advice::of(old_driver(&here, captures)),
        Code::CpuOnlyWheel if here.variant().is_some_and(|v| v.cuda().is_some()) => {
            Advice { refused: true, ..Advice::default() }
        }
        Code::CpuOnlyWheel => Advice::of(cpu_build(&here, said)),
        Code::NoSuchWheel | Code::MissingIndex | Code::PythonUnsupported => {
            super::missing::no_file(&here, said, captures)
        }
        Code::CompanionMismatch => Advice::of(companions(&here, captures)),
        Code::ToolkitMismatch => Advice::of(toolkit(&here, captures)),
        _ => Advice::default(),
    };
    // Whatever found it: neither index holds a build for such a machine.
    if here.jetson && advice.fix.iter().any(|line| line.contains("pip install torch")) {
        advice.fix = vec![JETPACK.into()];
    }
    let names = ["take torch", "take a CUDA build", "raise the driver"];
    advice.instead = advice.fix.iter().any(|line| names.iter().any(|n| line.contains(n)));
    if about_torch(code)
        && advice.instead
        && let Some(replaced) = &said.replaced
        && here.torch.as_ref().is_some_and(|torch| torch.to_string() == replaced.new)
    {
        advice.fix.push(format!(
            "the install at line {} replaced torch {} by {}: keep such packages from choosing torch, with a constraints file",
            replaced.line, replaced.old, replaced.new
        ));
    }
    advice
}

/// Whether another torch may be the cure.
const fn about_torch(code: Code) -> bool {
    matches!(
        code,
        Code::ArchNotInBinary
            | Code::CudnnMismatch
            | Code::DriverTooOld
            | Code::CpuOnlyWheel
            | Code::CompanionMismatch
    )
}

/// The text with the environment first whose torch has no CUDA, where that is not the first one.
fn without_cuda(said: &Said) -> Option<Said> {
    let pythons = &said.facts.pythons;
    let at =
        pythons.iter().position(|p| p.torch.as_ref().is_some_and(|torch| torch.cuda.is_none()))?;
    (at > 0).then(|| {
        let mut said = said.clone();
        said.facts.pythons.swap(0, at);
        said
    })
}

/// NVIDIA's own builds are the only ones there.
pub(super) const JETPACK: &str = "install the torch wheel that NVIDIA publishes for this JetPack release: those of PyPI and of the PyTorch wheel index are not made for Jetson";

/// No code for the card: the nearest build that has some.
fn no_code(here: &Situation<'_>) -> Vec<String> {
    if here.cards.is_empty() || here.foreign {
        return Vec::new();
    }
    if here.jetson {
        return vec![JETPACK.into()];
    }
    let names = served_names(here);
    if let Some(told) = torch_serves(here) {
        return vec![told];
    }
    let search = Search::new(here);
    // Newer code is needed for a newer card, older code for an older one.
    let up = !newer_than_cards(here);
    if here.torch.is_none() {
        // Which one fails is not said: it may be the library that the traceback runs through.
        if here.extension.is_some() {
            return Vec::new();
        }
        if up {
            return search
                .lowest()
                .map(|found| search.at_least(&found, &names))
                .unwrap_or_default();
        }
    }
    let other = |found: &Found<'_>| !search.is_installed(found);
    match search.nearest(up, &other) {
        Some(found) => {
            search.take_after_driver(&found, &format!(", which has machine code for {names}"))
        }
        None if search.known_nowhere() => vec![format!(
            "no torch release of the matrix has machine code for {names} on {}",
            here.place()
        )],
        None => Vec::new(),
    }
}

/// The cuDNN that torch brings has no code for the card: the nearest build whose cuDNN has.
fn other_cudnn(here: &Situation<'_>) -> Vec<String> {
    let judged = judge(&here.case(), here.matrix);
    let lacks = judged
        .findings
        .iter()
        .any(|f| f.code == Code::CudnnMismatch && f.severity == Severity::Error);
    if !lacks || here.foreign || here.jetson {
        return Vec::new();
    }
    let search = Search::new(here);
    let found = search.nearest(!newer_than_cards(here), &|found| !search.is_installed(found));
    let why = format!(", whose cuDNN has code for {}", served_names(here));
    found.map(|found| search.take(&found, &why)).into_iter().collect()
}

/// `sm_120`, or several.
fn served_names(here: &Situation<'_>) -> String {
    let mut names: Vec<String> = here
        .cards
        .iter()
        .map(|card| format!("sm_{}{}", card.capability.major, card.capability.minor))
        .collect();
    names.order();
    names.dedup();
    names.join(" and ")
}

/// The code at hand is all newer than the cards: they were dropped.
fn newer_than_cards(here: &Situation<'_>) -> bool {
    let Some(oldest) = here.cards.iter().map(|card| card.capability).min() else { return false };
    let lowest = |list: &[crate::domain::CodeTarget]| list.iter().map(|c| c.capability).min();
    let told = here.arch_list.as_deref().and_then(lowest);
    let known = || {
        let release = here.matrix.release(here.release()?)?;
        let build = release.variant(here.variant()?)?.build(here.place())?;
        build.code.sass.as_deref().and_then(lowest)
    };
    told.or_else(known).map_or(oldest.major < 8, |lowest| oldest < lowest)
}

/// torch itself has code for every card: then something else has none.
fn torch_serves(here: &Situation<'_>) -> Option<String> {
    let torch = here.torch.as_ref()?;
    let list = if let Some(list) = &here.arch_list {
        let (ptx, sass): (Vec<_>, Vec<_>) = list.iter().copied().partition(|c| c.ptx);
        CodeList { sass: Some(sass), ptx: Some(ptx) }
    } else {
        let release = here.matrix.release(here.release()?)?;
        release.variant(here.variant()?)?.build(here.place())?.code.clone()
    };
    let serves = |card: &crate::matrix::GpuMatch| {
        let served = physics::served(here.matrix, &list, None, card.capability);
        matches!(served, Served::Exact(_) | Served::SameMajor(_))
    };
    here.cards.iter().all(serves).then(|| {
        let capabilities: Vec<_> = here.cards.iter().map(|c| c.capability.to_string()).collect();
        format!(
            "torch {torch} itself has machine code for {}: an extension beside it has none; take another build of it, or compile it with TORCH_CUDA_ARCH_LIST=\"{}\"",
            served_names(here),
            capabilities.join(";")
        )
    })
}

/// The driver is too old for the CUDA of the build: raise the one, or lower the other.
fn old_driver(here: &Situation<'_>, captures: &BTreeMap<String, String>) -> Vec<String> {
    if here.foreign || here.jetson {
        return Vec::new();
    }
    let matrix = here.matrix;
    let platform = here.driver_platform();
    let driver = here.driver.as_ref().and_then(|driver| driver.oldest);
    let mut fix = Vec::new();
    // PTX needs a driver that implements all of its CUDA, and where neither torch's CUDA nor the driver's is
    // told, it may be PTX, or a call that the driver does not have yet.
    let ptx = here.ptx || captures.contains_key("ptx") || captures.contains_key("driver_ptx");
    let by_cuda = |driver: &Driver| matches!(driver.spec, DriverSpec::Cuda(_));
    let mut whole = ptx || (here.cuda.is_none() && !here.driver.as_ref().is_some_and(by_cuda));
    if let Some(cuda) = here.cuda {
        // A new card asks for more than the CUDA of the build; which Windows driver it is, no list says.
        let of_cards =
            judge(&here.case(), matrix).driver.min.filter(|_| platform != Platform::WindowsAmd64);
        let floor = physics::driver_floor(matrix, cuda, platform, false).max(of_cards);
        let native = physics::native_floor(matrix, cuda, platform);
        let reaches = |need: Option<_>| need.zip(driver).is_some_and(|(need, has)| has >= need);
        // A driver that implements all of it is not the trouble.
        if reaches(native) {
            return Vec::new();
        }
        whole |= reaches(floor);
        let need = if whole { native } else { floor };
        let last =
            here.cards.iter().filter_map(|c| matrix.generation(c.capability)?.last_branch).min();
        let wheel = here
            .torch
            .as_ref()
            .map_or_else(|| format!("CUDA {cuda}"), |torch| format!("torch {torch} (CUDA {cuda})"));
        if let Some(need) = need.filter(|need| last.is_none_or(|last| need.branch <= last)) {
            let place = if here.wsl { " in Windows, which WSL2 uses," } else { "" };
            let all = native.filter(|native| *native > need).map_or_else(String::new, |native| {
                format!("; from {native} on everything of CUDA {cuda} works, PTX too")
            });
            fix.push(format!("raise the driver{place} to {need} or newer for {wheel}{all}"));
        }
    }
    let Some(driver) = &here.driver else { return fix };
    // The build is not known, and as PyPI serves it this driver would do: something else asks for more.
    let too_old = |f: &Finding| f.code == Code::DriverTooOld;
    if here.cuda.is_none()
        && here.release().is_some()
        && !judge(&here.case(), matrix).findings.iter().any(too_old)
    {
        return fix;
    }
    let search = Search::new(here);
    let fits = |found: &Found<'_>| {
        found.mode == Some(DriverMode::Native) || (!whole && found.mode.is_some())
    };
    let found = search.nearest(false, &|found| fits(found) && !search.is_installed(found));
    if let Some(found) = found.filter(|found| !found.driver_dropped) {
        let why = format!(", which {} runs", name(driver));
        if here.torch.is_some() {
            fix.push(search.take(&found, &why));
        } else if here.extension.is_none() {
            fix.push(search.build_of_index(&found, &why));
        }
    }
    fix.extend(forward_compat(here, driver));
    fix
}

/// `driver 535.54.03`, `a driver of CUDA 11.4`.
fn name(driver: &Driver) -> String {
    match driver.spec {
        DriverSpec::Cuda(cuda) => format!("a driver of CUDA {cuda}"),
        DriverSpec::Oldest(version) if version.is_bare_branch() => {
            format!("a driver of branch {}", version.branch)
        }
        _ => driver.oldest.map_or_else(|| "this driver".into(), |v| format!("driver {v}")),
    }
}

/// A cuda-compat package, where cards and driver admit one.
fn forward_compat(here: &Situation<'_>, driver: &Driver) -> Option<String> {
    let all = !here.cards.is_empty()
        && here.cards.iter().all(|card| card.kind == Some(GpuKind::Datacenter));
    // A CUDA version stands for a branch of which nobody knows the release.
    if !all || here.wsl || matches!(driver.spec, DriverSpec::Cuda(_)) {
        return None;
    }
    let case = Case { allow_forward_compat: true, ..here.case() };
    let judged = judge(&case, here.matrix);
    (judged.driver.mode == Some(DriverMode::ForwardCompat)).then(|| {
        let note = judged.findings.iter().find(|f| f.message.contains("by the package"));
        note.map(|note| format!("or keep the driver: {}", note.message))
    })?
}

/// A build without CUDA: the CUDA build of the same release.
fn cpu_build(here: &Situation<'_>, said: &Said) -> Vec<String> {
    if here.foreign {
        return other_maker(here, said).into_iter().collect();
    }
    if here.jetson {
        return vec![JETPACK.into()];
    }
    let platform = here.place();
    if !platform.has_cuda() {
        let mac = matches!(platform, Platform::MacosArm64 | Platform::MacosAmd64);
        let instead = if mac { ": a Mac runs torch on its CPU or by MPS" } else { "" };
        return vec![format!("there is no CUDA build of torch for {platform}{instead}")];
    }
    // Nothing is known that would choose a build: the message's own words say as much.
    let told = here.torch.is_some() || here.driver.is_some() || !here.cards.is_empty();
    if !told || here.torch.is_some() && here.release().is_none() {
        return Vec::new();
    }
    let search = Search::new(here);
    let Some(found) = search.nearest(true, &|_| true) else { return Vec::new() };
    if here.torch.is_none() {
        return vec![search.build_of_index(&found, "")];
    }
    let first = here.release().filter(|release| {
        let release = here.matrix.release(*release);
        release.is_some_and(|r| {
            r.variants.iter().all(|v| v.cuda.is_none() || v.build(platform).is_none())
        })
    });
    let why = match first {
        Some(release) => format!(": of torch {release} there is no CUDA build for {platform}"),
        None => ", a CUDA build".to_owned(),
    };
    search.take_after_driver(&found, &why)
}

/// A card of another maker runs other builds.
fn other_maker(here: &Situation<'_>, said: &Said) -> Option<String> {
    let is = |name: &str| said.others.iter().any(|other| other == name);
    if is(super::paste::AMD) {
        let windows = here.place() == Platform::WindowsAmd64;
        let how = if windows {
            ""
        } else {
            ", one of the indexes https://download.pytorch.org/whl/rocm..."
        };
        return Some(format!("this card runs no CUDA: it needs a ROCm build of torch{how}"));
    }
    is(super::paste::INTEL).then(|| {
        "this card runs no CUDA: pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/xpu".to_owned()
    })
}

/// Packages that do not belong to this torch: those that do, or the torch that belongs to them.
fn companions(here: &Situation<'_>, captures: &BTreeMap<String, String>) -> Vec<String> {
    if here.foreign || here.jetson {
        return Vec::new();
    }
    if here.misfits.iter().any(|name| name == "bitsandbytes") {
        return bitsandbytes(here, captures).into_iter().collect();
    }
    let Some(release) = here.release().and_then(|release| here.matrix.release(release)) else {
        return Vec::new();
    };
    // What the message names; else what the matrix says does not belong together.
    let judged = judge(&here.case(), here.matrix);
    // What belongs to a torch that the card does not run is no help.
    let no_code_for_card =
        |f: &Finding| f.code == Code::ArchNotInBinary && f.severity == Severity::Error;
    if judged.findings.iter().any(no_code_for_card) {
        return no_code(here);
    }
    let against = |name: &str| {
        let mismatch = |f: &Finding| f.code == Code::CompanionMismatch && f.message.contains(name);
        judged.findings.iter().any(mismatch)
    };
    let told: Vec<String> = captures
        .get("package")
        .map(|name| crate::domain::normalise_name(name))
        .into_iter()
        .chain(here.misfits.iter().cloned())
        .collect();
    // xformers has no use beside a torch without CUDA.
    let cpu = here.variant() == Some(WheelVariant::Cpu);
    let met = |name: &&&str| {
        let named = if told.is_empty() { against(name) } else { told.iter().any(|t| t == **name) };
        named && !(cpu && **name == "xformers")
    };
    let names: Vec<String> = TRAIN.iter().filter(met).map(|name| (*name).to_owned()).collect();
    let search = Search::new(here).beside(names.clone());
    let mut fix = Vec::new();
    // The very build that is installed; its other packages move to it.
    let variant = here.variant().and_then(|name| release.variant(name));
    fix.extend(variant.and_then(|variant| search.move_companions(release, variant)));
    for (name, version) in here.with.iter().filter(|(name, _)| names.contains(name)) {
        let public = version.split('+').next().unwrap_or_default();
        let owner = here.matrix.releases.iter().find(|release| {
            release.train.get(name).is_some_and(|train| train.exact.iter().any(|v| v == public))
        });
        if let Some(owner) = owner.filter(|owner| owner.version != release.version) {
            fix.push(format!(
                "or keep {name} {version} and take torch {}, to which it belongs",
                owner.version
            ));
        }
    }
    fix
}

/// bitsandbytes carries a library for each CUDA: the first release that has the one of torch.
fn bitsandbytes(here: &Situation<'_>, captures: &BTreeMap<String, String>) -> Option<String> {
    let number = captures.get("number").and_then(|number| format!("cu{number}").parse().ok());
    let cuda = number.and_then(WheelVariant::cuda).or(here.cuda)?;
    let rows = here.matrix.companions("bitsandbytes");
    let has = |row: &&crate::matrix::Companion| {
        row.cuda_libraries.get(&here.place()).is_some_and(|list| list.contains(&cuda.series()))
    };
    // A library that was dropped again is in no newer release.
    rows.last().filter(has)?;
    let first = rows.iter().find(has)?;
    Some(format!(
        "take bitsandbytes {} or newer, the first with a library for CUDA {cuda}: pip install \"bitsandbytes>={}\"",
        first.version, first.version
    ))
}

/// A compiler that does not know the card, torch's CUDA, or the compiler of the system.
fn toolkit(here: &Situation<'_>, captures: &BTreeMap<String, String>) -> Vec<String> {
    let matrix = here.matrix;
    let mut fix = Vec::new();
    let wanted = ["arch", "sm", "capability"]
        .iter()
        .find_map(|key| super::situation::capability(captures.get(*key)?));
    if let Some(wanted) = wanted {
        let knows = |c: &&Compiler| c.targets.iter().any(|t| t.capability == wanted);
        let range: Vec<_> = matrix.compilers.iter().filter(knows).map(|c| c.cuda).collect();
        if let (Some(first), Some(last)) = (range.first(), range.last()) {
            let newest = matrix.compilers.last().is_some_and(|c| c.cuda == *last);
            let from =
                if newest { format!("{first} or newer") } else { format!("{first} to {last}") };
            fix.push(format!(
                "take nvcc or ptxas of CUDA {from}: those know compute capability {wanted}"
            ));
        }
        return fix;
    }
    // The compiler's own word counts before the table.
    let known = || matrix.compiler(here.nvcc?)?.gcc_max.clone();
    let asked = captures.contains_key("gcc").then(known).flatten();
    if let Some(max) = here.gcc_max.clone().or(asked) {
        let nvcc = here.nvcc.map_or_else(|| "this nvcc".into(), |cuda| format!("nvcc {cuda}"));
        fix.push(format!(
            "{nvcc} takes gcc {max} at most: install gcc-{max} and g++-{max}, then set CUDAHOSTCXX=g++-{max}"
        ));
        return fix;
    }
    if let (Some(nvcc), Some(cuda)) = (here.nvcc, here.cuda)
        && nvcc.major != cuda.major
    {
        fix.push(format!("compile with a CUDA {}.x toolkit, best {cuda}, as torch was built: set CUDA_HOME to it", cuda.major));
        let search = Search::new(here);
        let same_major =
            |found: &Found<'_>| found.variant.cuda.is_some_and(|c| c.major == nvcc.major);
        if let Some(found) = search.nearest(true, &same_major).filter(|found| !found.python_dropped)
        {
            fix.push(search.take(&found, &format!(", built with the major of nvcc {nvcc}")));
        }
    }
    fix
}

/// Whether a version of a package goes with a case, for the search.
pub(super) fn goes_with(case: &Case, name: &str, version: &str, matrix: &Matrix) -> bool {
    let Some(package) = package(name, version) else { return false };
    let case = Case { with: vec![package], ..case.clone() };
    let against =
        |f: &Finding| f.severity <= crate::domain::Severity::Unknown && f.message.contains(name);
    !judge(&case, matrix).findings.iter().any(against)
}
