//! What to install instead: the nearest build that cards, driver, platform and Python here take.

use super::Subject;
use super::view::{Build, Torch, quoted};
use crate::domain::{Code, Order as _, TorchRelease, WheelVariant};
use crate::host::Python;
use crate::matrix::Variant;
use crate::resolve::case::Case;
use crate::resolve::judge;

/// A build that can be installed here.
#[derive(Debug, Clone, Copy)]
struct Fit {
    release: TorchRelease,
    variant: WheelVariant,
    on_pypi: bool,
    /// It is known to run; otherwise nothing known is against it.
    sure: bool,
}

/// What installs a build that runs on these cards and this driver: of the same release, or else of
/// the nearest line of releases.
pub fn install_lines(subject: &Subject<'_>, torch: &Torch<'_>) -> Vec<String> {
    let release = torch.release();
    let same = release.and_then(|release| build_for(subject, release, false));
    let Some(fit) = same.or_else(|| nearest(subject, release)) else {
        return vec!["no build known runs on these cards with this driver and Python: `gpuseal resolve --gpu CARD --driver VERSION` says what would have to change".into()];
    };
    let runs = match (fit.sure, subject.cards().len()) {
        (false, _) | (_, 0) => "",
        (_, 1) => ", which runs on this card and driver",
        _ => ", which runs on these cards and this driver",
    };
    let (release, variant) = (fit.release, fit.variant);
    let mut lines = Vec::new();
    if torch.python.kind == "conda" && !torch.version.contains('+') {
        let cuda = variant.cuda().map_or_else(String::new, |c| c.to_string());
        lines.push(format!("install conda's build with CUDA: `CONDA_OVERRIDE_CUDA={cuda} conda install -c conda-forge \"pytorch={release}=cuda*\"`"));
    }
    let command = install_command(subject, torch.python, fit);
    lines.push(format!("install torch {release}+{variant}{runs}: `{command}`"));
    lines
}

/// The command that installs a build, with the companions of it that are here.
fn install_command(subject: &Subject<'_>, python: &Python, fit: Fit) -> String {
    let Fit { release, variant, on_pypi, .. } = fit;
    let mut packages = vec![format!("torch=={release}")];
    let train = subject.matrix.release(release).map(|row| &row.train);
    for name in ["torchvision", "torchaudio"] {
        let own = train.and_then(|t| t.get(name)).and_then(|t| t.exact.last().or(t.open.last()));
        if let (true, Some(version)) = (python.packages.contains_key(name), own) {
            packages.push(format!("{name}=={version}"));
        }
    }
    let index = if on_pypi {
        String::new()
    } else {
        format!(" --index-url https://download.pytorch.org/whl/{variant}")
    };
    let again = if python.kind == "uv" { "--reinstall" } else { "--force-reinstall" };
    format!("{} install {again} {}{index}", pip(python), packages.join(" "))
}

/// pip of an environment.
pub fn pip(python: &Python) -> String {
    match python.kind.as_str() {
        "uv" => "uv pip".into(),
        _ => format!("{} -m pip", quoted(&python.path)),
    }
}

/// The newest fitting release of the line that is nearest to `from`.
fn nearest(subject: &Subject<'_>, from: Option<TorchRelease>) -> Option<Fit> {
    let releases = &subject.matrix.releases;
    let mut lines: Vec<(u16, u16)> = releases.iter().map(|r| r.version.line()).collect();
    lines.dedup();
    let at = |line: (u16, u16)| lines.iter().position(|l| *l == line);
    let own = from.and_then(|from| at(from.line())).unwrap_or(lines.len());
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.order_by_key(|line| (line.abs_diff(own), *line < own));
    order.into_iter().find_map(|line| {
        let of_line = releases.iter().rev().filter(|r| r.version.line() == lines[line]);
        of_line.map(|r| r.version).find_map(|version| build_for(subject, version, true))
    })
}

/// The best build of a release that cards, driver, platform and Python of this machine take: what is
/// known to run, PyPI's own before others, then the newest.
fn build_for(subject: &Subject<'_>, release: TorchRelease, sure: bool) -> Option<Fit> {
    let row = subject.matrix.release(release)?;
    let case = subject.case();
    let platform = case.platform();
    let fits = |variant: &Variant| {
        let torch = format!("{release}+{}", variant.name).parse().ok();
        let known = match judge(&Case { torch, ..case.clone() }, subject.matrix).verdict {
            Code::Ok | Code::OkViaPtxJit => true,
            Code::Unknown if !sure => false,
            _ => return None,
        };
        let on_pypi = row.pypi.get(&platform) == Some(&variant.name);
        let fit = Fit { release, variant: variant.name, on_pypi, sure: known };
        Some(((known, on_pypi, variant.official, variant.cuda), fit))
    };
    let built = row.variants.iter().filter(|v| v.cuda.is_some() && v.build(platform).is_some());
    built.filter_map(fits).max_by_key(|(rank, _)| *rank).map(|(_, fit)| fit)
}

/// The command that installs the very same build again.
pub fn same_again(subject: &Subject<'_>, torch: &Torch<'_>) -> String {
    let release = torch.release();
    let cuda = match torch.build {
        Build::Cuda(cuda) => Some(cuda),
        _ => None,
    };
    let Some((release, variant)) = release.zip(cuda.and_then(WheelVariant::of_cuda)) else {
        return format!("{} install --force-reinstall torch", pip(torch.python));
    };
    let platform = subject.case().platform();
    let row = subject.matrix.release(release);
    let on_pypi = row.is_some_and(|row| row.pypi.get(&platform) == Some(&variant));
    install_command(subject, torch.python, Fit { release, variant, on_pypi, sure: true })
}
