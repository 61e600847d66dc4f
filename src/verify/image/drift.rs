//! torch and the packages beside it, against the lock.

use super::Seen;
use crate::domain::{Code, TorchVersion, WheelVariant, normalise_name};
use crate::host::{Facts, TorchFiles};
use crate::lock::{Package, Target};
use crate::verify::Check;

const AGAIN: &str =
    "install what is locked: `gpuseal render install` writes the script, or build the image again";
const RELOCK: &str = "or lock what is installed: name it in gpuseal.yaml, then `gpuseal lock`";

/// `torch`, `torch-version`, `packages`, `python`, `glibc`: what is installed is what was locked, and may run here.
pub fn checks(seen: &Seen<'_>, facts: &Facts, target: Option<&Target>) -> Vec<Check> {
    let mut checks = Vec::new();
    let Some(files) = seen.python.and_then(|python| python.torch.as_ref()) else {
        checks.push(absent(seen, target));
        return checks;
    };
    let place = seen.torch.as_ref().map(|torch| torch.join("version.py").display().to_string());
    let place = place.unwrap_or_default();
    checks.push(built_for_cuda(files, target, &place));
    let own = seen.wheels.iter().find(|wheel| wheel.name == "torch");
    checks.extend(torch_version(files, own.map(|wheel| wheel.version.as_str()), target, &place));
    if let Some(target) = target {
        checks.extend(packages(seen, target));
        checks.extend(surroundings(seen, facts, target));
    }
    checks
}

fn absent(seen: &Seen<'_>, target: Option<&Target>) -> Check {
    let found = match seen.python {
        None => "no Python environment was found".to_owned(),
        Some(python) => format!("torch is not installed in {}", python.path),
    };
    match target {
        // Whoever has locked torch and built without it has built something else.
        Some(target) if seen.python.is_some() => {
            let text = format!("{found}, and target `{}` has torch {}", target.name, named(target));
            Check::fail("torch", Code::LockDrift, text)
                .help("name the environment of the image with --env, where it is another one")
                .help(AGAIN)
        }
        _ => Check::skip("torch", Code::Unknown, found)
            .help("name the environment of the image with --env"),
    }
}

fn named(target: &Target) -> String {
    format!("{}+{}", target.torch, target.variant)
}

fn built_for_cuda(files: &TorchFiles, target: Option<&Target>, place: &str) -> Check {
    if let Some(cuda) = files.cuda {
        let text = format!("torch {} is built with CUDA {cuda}", files.version);
        return Check::pass("torch", text).fact(format!("cuda = {cuda}"), place);
    }
    let (code, what) = match &files.hip {
        Some(hip) => (
            Code::ArchNotInBinary,
            format!("is built for another maker's GPUs (HIP {hip}): it has no code for NVIDIA's"),
        ),
        None => (Code::CpuOnlyWheel, "is a build for the CPU: it has no GPU code".to_owned()),
    };
    let locked = target.map_or_else(String::new, |target| format!("; locked is {}", named(target)));
    let check = Check::fail("torch", code, format!("torch {} {what}{locked}", files.version));
    check.fact("torch.version.cuda is None", place).help(AGAIN)
}

/// torch's own word against its metadata, and both against the lock. PyPI's wheels have a label in version.py
/// alone.
fn torch_version(
    files: &TorchFiles,
    metadata: Option<&str>,
    target: Option<&Target>,
    place: &str,
) -> Option<Check> {
    let parsed: Option<TorchVersion> = files.version.parse().ok();
    let variant = parsed.as_ref().and_then(|version| version.variant);
    let variant = variant.or_else(|| files.cuda.and_then(WheelVariant::of_cuda));
    let (public, _) = split(&files.version);
    if let Some(metadata) = metadata {
        let (told, label) = split(metadata);
        let other_label = label
            .and_then(|label| label.parse::<WheelVariant>().ok())
            .is_some_and(|label| Some(label) != variant);
        if told != public || other_label {
            let text = format!(
                "torch calls itself {}, and its metadata says {metadata}: files of two builds lie in one folder",
                files.version
            );
            let check = Check::fail("torch-version", Code::LockDrift, text);
            return Some(
                check
                    .fact(files.version.as_str(), place)
                    .fact(metadata, "name of its dist-info folder")
                    .help("remove torch until pip says that there is none, then install it once"),
            );
        }
    }
    let target = target?;
    let release = parsed.as_ref().and_then(TorchVersion::release);
    if release == Some(target.torch) && variant == Some(target.variant) {
        let text = format!("torch {} is that of target `{}`", files.version, target.name);
        return Some(Check::pass("torch-version", text));
    }
    let text = format!(
        "torch {} is installed, and {} is locked (`{}`)",
        files.version,
        named(target),
        target.name
    );
    let check = Check::fail("torch-version", Code::LockDrift, text);
    Some(check.fact(files.version.as_str(), place).help(AGAIN).help(RELOCK))
}

/// A version and its local label.
fn split(version: &str) -> (&str, Option<&str>) {
    version.split_once('+').map_or((version, None), |(public, label)| (public, Some(label)))
}

/// The version of a locked package: with a label where its file or the lock names one.
fn locked(package: &Package) -> Option<String> {
    let of_file = package.file.as_ref().and_then(|file| {
        let name = file.name.as_str().strip_suffix(".whl")?;
        Some(name.split('-').nth(1)?.replace("%2B", "+").replace("%2b", "+"))
    });
    of_file.or_else(|| {
        let version = package.version.as_ref()?;
        let label = package.local.as_ref().map_or_else(String::new, |label| format!("+{label}"));
        Some(format!("{version}{label}"))
    })
}

fn same(a: &str, b: &str) -> bool {
    let read = |text: &str| text.parse::<pep440_rs::Version>().ok();
    a == b || read(a).zip(read(b)).is_some_and(|(a, b)| a == b)
}

/// `packages`: every package of the lock in its very version; one check for each that is not.
fn packages(seen: &Seen<'_>, target: &Target) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut counted = 0;
    for package in &target.packages {
        let name = package.name.as_str();
        let Some(locked) = locked(package) else { continue };
        let installed = seen.wheels.iter().find(|wheel| wheel.name == normalise_name(name));
        let text = match installed {
            Some(wheel) if same(&wheel.version, &locked) => {
                counted += 1;
                continue;
            }
            Some(wheel) => format!("{name} {} is installed, and {locked} is locked", wheel.version),
            None => format!("{name} {locked} is locked, and not installed"),
        };
        let text = format!("{text} (`{}`)", target.name);
        let check = Check::fail(format!("packages.{name}"), Code::LockDrift, text);
        checks.push(check.help(AGAIN).help(RELOCK));
    }
    if checks.is_empty() {
        let text = format!("{counted} packages are those of target `{}`", target.name);
        checks.push(Check::pass("packages", text).number("count", counted));
    }
    checks
}

/// Python, platform and C library, for which the locked files were chosen.
fn surroundings(seen: &Seen<'_>, facts: &Facts, target: &Target) -> Vec<Check> {
    let mut checks = Vec::new();
    let version = seen.python.and_then(|python| python.version.as_deref());
    let minor = version.and_then(|version| version.split('.').nth(1)?.parse::<u8>().ok());
    match (version, minor) {
        (Some(version), Some(minor)) if minor != target.python.minor => {
            let text = format!(
                "the interpreter is Python {version}, and the locked files are for {}",
                target.python
            );
            checks.push(Check::fail("python", Code::LockDrift, text).help(AGAIN));
        }
        (Some(version), Some(_)) => {
            checks.push(Check::pass("python", format!("Python {version}, as locked")));
        }
        // What torch's own files are for shows when they are loaded.
        _ => {
            checks.push(Check::not_needed("python", "its files do not name the version of Python"));
        }
    }
    let here = facts.system.platform;
    if let Some(here) = here.filter(|here| *here != target.platform) {
        let text =
            format!("this is {here}, and target `{}` is for {}", target.name, target.platform);
        checks.push(
            Check::fail("platform", Code::PlatformMismatch, text)
                .help("build the image for the platform of the target: `docker build --platform`"),
        );
    }
    let glibc = facts.system.glibc.as_ref();
    if let Some((told, min)) = glibc.zip(target.glibc_min).filter(|(told, min)| told.value < *min) {
        let text = format!("the image has glibc {}, and torch needs {min} or newer", told.value);
        checks.push(
            Check::fail("glibc", Code::GlibcTooOld, text)
                .fact(told.value.to_string(), &told.source)
                .help("take a newer base image: the lock names one"),
        );
    } else if facts.system.musl {
        let text = "the image has musl, and torch's wheels are for glibc";
        checks.push(
            Check::fail("glibc", Code::GlibcTooOld, text).help("take a Debian or Ubuntu base"),
        );
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_builds_in_one_folder() {
        let files = |version: &str, cuda: Option<&str>| TorchFiles {
            version: version.into(),
            cuda: cuda.map(|cuda| cuda.parse().expect("a version")),
            ..TorchFiles::default()
        };
        let pypi = files("2.9.1+cu128", Some("12.8"));
        assert_eq!(torch_version(&pypi, Some("2.9.1"), None, ""), None);
        assert_eq!(torch_version(&pypi, Some("2.9.1+cu128"), None, ""), None);
        for other in ["2.9.1+cu126", "2.9.0", "2.9.0+cu128"] {
            let check = torch_version(&pypi, Some(other), None, "").expect("a failure");
            assert_eq!(check.code, Code::LockDrift);
            assert!(check.text.contains(other) && check.text.contains("2.9.1+cu128"));
        }
        // conda names no build.
        assert_eq!(torch_version(&files("2.5.1", Some("12.4")), Some("2.5.1"), None, ""), None);
    }

    #[test]
    fn versions_as_they_are_written() {
        assert!(same("9.10.2.21", "9.10.2.21") && same("2.0", "2.0.0"));
        assert!(!same("2.9.1+cu126", "2.9.1+cu128") && !same("2.9.1", "2.9.1+cu128"));
    }
}
