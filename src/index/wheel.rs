//! The name of a wheel: of what it is a build, where it installs, and how well it fits there.
//!
//! Sources: PyPA specifications, "Binary distribution format" and "Platform compatibility tags"; the
//! order of preference is that of `packaging.tags.sys_tags`, which pip and uv follow.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

use pep440_rs::Version;

use super::{MAX_DIGITS, is_plain_name, version};
use crate::domain::{Glibc, ParseError, Platform, PythonVersion, normalise_name};

/// Combinations that the compressed tags of one name may stand for. Real ones have a few dozen.
const MAX_TAGS: usize = 1024;

/// Where a wheel is to be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// System and machine.
    pub platform: Platform,
    /// CPython of this version.
    pub python: PythonVersion,
    /// The C library of a Linux. `None`: not known yet; then every glibc will do, and a wheel that
    /// asks for less is preferred, since it runs on more.
    pub glibc: Option<Glibc>,
}

/// A wheel's file name, taken apart.
///
/// # Errors
/// Parsing refuses what PEP 427 does not describe, names that could leave their folder or mean
/// something to a shell, and compressed tags that stand for more than a thousand combinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelName {
    file: String,
    name: String,
    version: Version,
    build: Option<(u64, String)>,
    pythons: Vec<String>,
    abis: Vec<String>,
    platforms: Vec<String>,
    /// The fifth field of the draft PEP 825. What it asks of the hardware is not judged here.
    variant: Option<String>,
}

/// How well a wheel fits a machine; the greater, the better.
///
/// First by its tags, in the order in which pip prefers them, then by its build number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    tags: Reverse<(Step, Fit)>,
    build: Option<(u64, String)>,
}

/// Python and ABI: the kind of the tag, and how far below the machine's Python it is.
type Step = (u8, u8);
/// Platform: the kind of the tag, its place among others of the kind, and whether it is an old name.
type Fit = (u8, u16, bool);

/// A tag that names the platform of no machine.
const ANY: Fit = (0, 0, false);

impl FromStr for WheelName {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        read(given).ok_or_else(|| {
            ParseError::new(
                "the name of a wheel",
                given,
                "a form like `torch-2.6.0-cp312-cp312-manylinux1_x86_64.whl`",
            )
        })
    }
}

fn read(file: &str) -> Option<WheelName> {
    if !is_plain_name(file) {
        return None;
    }
    let parts: Vec<&str> = file.strip_suffix(".whl")?.split('-').collect();
    let (&[name, version_text], rest) = parts.split_first_chunk()?;
    let has_build = rest.first()?.starts_with(|c: char| c.is_ascii_digit());
    let (build, rest) = if has_build { (Some(rest[0]), &rest[1..]) } else { (None, rest) };
    let (&[python, abi, platform], variant) = rest.split_first_chunk()?;
    let variant = match variant {
        [] => None,
        [label] if !label.is_empty() => Some((*label).to_owned()),
        _ => return None,
    };
    let ends_well = |end: Option<char>| end.is_some_and(|c| c.is_ascii_alphanumeric());
    if name.contains("__")
        || !ends_well(name.chars().next())
        || !ends_well(name.chars().next_back())
        || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._".contains(&b))
    {
        return None;
    }
    let build = match build {
        None => None,
        Some(text) => {
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            let number = text[..end].parse().ok().filter(|_| end <= MAX_DIGITS)?;
            Some((number, text[end..].to_owned()))
        }
    };
    let set = |field: &str| -> Option<Vec<String>> {
        field.split('.').map(|tag| (!tag.is_empty()).then(|| tag.to_ascii_lowercase())).collect()
    };
    let (pythons, abis, platforms) = (set(python)?, set(abi)?, set(platform)?);
    let word = |tag: &String| {
        !tag.starts_with(|c: char| c.is_ascii_digit())
            && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if !pythons.iter().all(word) || pythons.len() * abis.len() * platforms.len() > MAX_TAGS {
        return None;
    }
    Some(WheelName {
        file: file.to_owned(),
        name: normalise_name(name),
        version: version(version_text)?,
        build,
        pythons,
        abis,
        platforms,
        variant,
    })
}

impl WheelName {
    /// The package, normalised.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version, with its local label.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The file name as it was given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The build number and what follows it, which decide between files that are otherwise equal.
    pub fn build(&self) -> Option<(u64, &str)> {
        self.build.as_ref().map(|(number, rest)| (*number, rest.as_str()))
    }

    /// The label of a variant wheel (draft PEP 825). Such a file is meant for installers that ask the
    /// hardware; here it installs nowhere.
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// How well it fits; `None`: it does not install there.
    pub fn rank(&self, on: &Machine) -> Option<Rank> {
        if self.variant.is_some() {
            return None;
        }
        let mut best: Option<(Step, Fit)> = None;
        for python in &self.pythons {
            for abi in &self.abis {
                for platform in &self.platforms {
                    let is_any = platform == "any";
                    let fit = if is_any { Some(ANY) } else { fit(platform, *on) };
                    if let (Some(fit), Some(step)) = (fit, step(python, abi, is_any, on.python)) {
                        best = Some(best.map_or((step, fit), |best| best.min((step, fit))));
                    }
                }
            }
        }
        best.map(|tags| Rank { tags: Reverse(tags), build: self.build.clone() })
    }

    /// The lowest glibc that it promises to run with on such a machine. A file that names several
    /// (`manylinux_2_27_x86_64.manylinux_2_28_x86_64`) promises the lowest of them. `None`: it names
    /// none (`any`, a plain `linux_x86_64`), or does not install there.
    pub fn glibc(&self, on: &Machine) -> Option<Glibc> {
        self.rank(on)?;
        let here = self.platforms.iter().filter(|tag| fit(tag, *on).is_some());
        here.filter_map(|tag| floor(tag, machine(on.platform)).map(|(floor, _)| floor)).min()
    }
}

impl fmt::Display for WheelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)
    }
}

/// Which of pip's steps a pair of tags belongs to. The numbers follow `cpython_tags` and then
/// `compatible_tags`; within the step, the platforms have their order.
fn step(python: &str, abi: &str, is_any: bool, on: PythonVersion) -> Option<Step> {
    // A tag is a text: `cp309` is no `cp39`.
    let minor = |prefix: &str| {
        let digits = python.strip_prefix(prefix)?;
        digits.parse::<u8>().ok().filter(|minor| minor.to_string() == digits)
    };
    if let Some(minor) = minor("cp3") {
        let stable = if on.free_threaded { "abi3t" } else { "abi3" };
        // Up to 3.7 the allocator was a part of the ABI.
        let flags = if on.free_threaded { "t" } else { ["m", ""][usize::from(on.minor >= 8)] };
        let below = on.minor.checked_sub(minor)?;
        return match (below, abi, is_any) {
            (0, "none", true) => Some((5, 0)),
            (0, "none", false) => Some((2, 0)),
            (0, abi, false) if abi == stable && minor >= 2 => Some((1, 0)),
            (0, abi, false) if abi.strip_prefix(python) == Some(flags) => Some((0, 0)),
            (_, abi, false) if abi == stable && minor >= 2 => Some((3, below)),
            _ => None,
        };
    }
    // `py312`, `py3`, `py311`, `py310` ...
    let below = if python == "py3" {
        1
    } else {
        match on.minor.checked_sub(minor("py3")?)? {
            0 => 0,
            below => below.saturating_add(1),
        }
    };
    (abi == "none").then_some((if is_any { 6 } else { 4 }, below))
}

/// The machine's name in tags of Linux and macOS.
const fn machine(platform: Platform) -> &'static str {
    match platform {
        Platform::LinuxAmd64 | Platform::MacosAmd64 | Platform::WindowsAmd64 => "x86_64",
        Platform::LinuxArm64 => "aarch64",
        Platform::LinuxPpc64le => "ppc64le",
        Platform::WindowsArm64 | Platform::MacosArm64 => "arm64",
    }
}

/// Where a platform tag stands among those that a machine takes; `None`: it does not take it.
fn fit(tag: &str, on: Machine) -> Option<Fit> {
    let exact = |name: &str| (tag == name).then_some((0, 0, false));
    match on.platform {
        Platform::WindowsAmd64 => exact("win_amd64"),
        Platform::WindowsArm64 => exact("win_arm64"),
        Platform::MacosArm64 => mac(tag, &["arm64", "universal2"]),
        Platform::MacosAmd64 => {
            mac(tag, &["x86_64", "intel", "fat64", "fat3", "universal2", "universal"])
        }
        Platform::LinuxAmd64 | Platform::LinuxArm64 | Platform::LinuxPpc64le => {
            let machine = machine(on.platform);
            if tag.strip_prefix("linux_") == Some(machine) {
                // It promises nothing, so it comes last.
                return Some((1, 0, false));
            }
            let (floor, legacy) = floor(tag, machine)?;
            // The first manylinux of each machine.
            let first = if on.platform == Platform::LinuxAmd64 { 5 } else { 17 };
            if floor < Glibc::new(2, first) || on.glibc.is_some_and(|have| have < floor) {
                return None;
            }
            let (major, minor) = floor.parts();
            let number = u16::from_be_bytes([major, minor]);
            // pip takes the newest that the machine has; without one, the oldest.
            let place = if on.glibc.is_some() { u16::MAX - number } else { number };
            Some((0, place, legacy))
        }
    }
}

/// macOS: its version is not known here, so all will do, and the oldest is preferred.
fn mac(tag: &str, formats: &[&str]) -> Option<Fit> {
    let (major, rest) = tag.strip_prefix("macosx_")?.split_once('_')?;
    let (minor, format) = rest.split_once('_')?;
    let format = u8::try_from(formats.iter().position(|known| *known == format)?).ok()?;
    let (major, minor) = (major.parse::<u8>().ok()?, minor.parse::<u8>().ok()?);
    Some((format, u16::from_be_bytes([major, minor]), false))
}

/// The glibc of a manylinux tag for this machine, and whether it is one of the old names.
fn floor(tag: &str, machine: &str) -> Option<(Glibc, bool)> {
    let kind = tag.strip_suffix(machine)?.strip_suffix('_')?;
    let legacy = |minor| Some((Glibc::new(2, minor), true));
    match kind {
        "manylinux1" => legacy(5),
        "manylinux2010" => legacy(12),
        "manylinux2014" => legacy(17),
        _ => {
            let dotted = kind.strip_prefix("manylinux_")?.replace('_', ".");
            let floor: Glibc = dotted.parse().ok()?;
            // `2_017` is no `2_17`.
            (floor.to_string() == dotted).then_some((floor, false))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wheel(tags: &str) -> WheelName {
        let file = format!("a_b-1.0-{tags}.whl");
        file.parse().expect(&file)
    }

    fn on(platform: Platform, python: &str, glibc: Option<&str>) -> Machine {
        let glibc = glibc.map(|text| text.parse().expect(text));
        Machine { platform, python: python.parse().expect(python), glibc }
    }

    fn linux(python: &str) -> Machine {
        on(Platform::LinuxAmd64, python, Some("2.28"))
    }

    #[test]
    fn names_read() {
        let read = |file: &str| file.parse::<WheelName>().expect(file);
        let torch = read("torch-2.6.0+cu126-cp312-cp312-linux_x86_64.whl");
        assert_eq!((torch.name(), torch.version().to_string().as_str()), ("torch", "2.6.0+cu126"));
        assert_eq!(torch.to_string(), "torch-2.6.0+cu126-cp312-cp312-linux_x86_64.whl");
        assert!(torch.build().is_none() && torch.variant().is_none());
        let built = read("Foo.Bar_baz-1!2.0rc1-12a_b-py2.py3-none-any.whl");
        assert_eq!((built.name(), built.build()), ("foo-bar-baz", Some((12, "a_b"))));
        assert_eq!(read("a-1-py3-none-any-cu126.whl").variant(), Some("cu126"));
        assert_eq!(read("a-1-2-py3-none-any-00000000.whl").build(), Some((2, "")));
    }

    #[test]
    fn names_refused() {
        let many = format!("a-1-{0}-{0}-{0}.whl", ["p"; 11].join("."));
        for file in [
            "",
            ".whl",
            "a.whl",
            "a-1.whl",
            "a-1-py3-none.whl",
            "a-1-py3-none-any.zip",
            "a-1-py3-none-any.WHL",
            "a-x-py3-none-any.whl",
            "-1-py3-none-any.whl",
            "a__b-1-py3-none-any.whl",
            "_a-1-py3-none-any.whl",
            "a-1-py3--any.whl",
            "a-1-py3.-none-any.whl",
            "a-1-py3-none-any-.whl",
            "a-1-1-py3-none-any-x-y.whl",
            "a-1-9999999999999999999-py3-none-any.whl",
            "../a-1-py3-none-any.whl",
            "a-1-py3-none-any/b.whl",
            "a-1%2Bcu-py3-none-any.whl",
            "a-1-py3-none-a ny.whl",
            "a-1-py3-none-$any.whl",
            "a-1-py3-none-any\n.whl",
            "a\u{0}-1-py3-none-any.whl",
            "é-1-py3-none-any.whl",
            &many,
            &format!("{}-1-py3-none-any.whl", "a".repeat(255)),
        ] {
            assert!(file.parse::<WheelName>().is_err(), "{file}");
        }
    }

    #[test]
    fn what_installs_where() {
        for (tags, machine, fits) in [
            ("cp312-cp312-manylinux_2_28_x86_64", linux("3.12"), true),
            ("cp312-cp312-manylinux_2_29_x86_64", linux("3.12"), false),
            ("cp312-cp312-manylinux_2_28_aarch64", linux("3.12"), false),
            ("cp312-cp312-manylinux1_x86_64", linux("3.12"), true),
            ("cp312-cp312-linux_x86_64", linux("3.12"), true),
            ("cp312-cp312-musllinux_1_2_x86_64", linux("3.12"), false),
            ("cp312-cp312-manylinux_2_4_x86_64", linux("3.12"), false),
            ("cp312-cp312-manylinux_2_017_x86_64", linux("3.12"), false),
            ("cp312-cp312-manylinux_2_x86_64", linux("3.12"), false),
            ("cp312-cp312-any", linux("3.12"), false),
            ("cp312-none-any", linux("3.12"), true),
            ("cp311-none-any", linux("3.12"), false),
            ("cp38-abi3-manylinux2014_x86_64", linux("3.12"), true),
            ("cp38-abi3-manylinux2014_x86_64", linux("3.7"), false),
            ("cp38-abi3-manylinux2014_x86_64", linux("3.13t"), false),
            ("cp313-cp313t-manylinux2014_x86_64", linux("3.13t"), true),
            ("cp313-cp313-manylinux2014_x86_64", linux("3.13t"), false),
            ("cp313-cp313t-manylinux2014_x86_64", linux("3.13"), false),
            ("cp315-abi3t-manylinux2014_x86_64", linux("3.15t"), true),
            ("cp37-cp37m-manylinux2014_x86_64", linux("3.7"), true),
            ("cp309-cp309-manylinux2014_x86_64", linux("3.9"), false),
            ("py2.py3-none-any", linux("3.9"), true),
            ("py2-none-any", linux("3.9"), false),
            ("py310-none-any", linux("3.9"), false),
            ("py39-none-any", linux("3.13t"), true),
            ("py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64", linux("3.9"), true),
            ("py3-none-win_amd64", on(Platform::WindowsAmd64, "3.9", None), true),
            ("py3-none-win_arm64", on(Platform::WindowsArm64, "3.12", None), true),
            ("py3-none-win_arm64", on(Platform::WindowsAmd64, "3.9", None), false),
            ("py3-none-win32", on(Platform::WindowsAmd64, "3.9", None), false),
            ("cp312-cp312-macosx_11_0_arm64", on(Platform::MacosArm64, "3.12", None), true),
            ("cp312-cp312-macosx_11_0_arm64", on(Platform::MacosAmd64, "3.12", None), false),
            ("cp312-cp312-macosx_10_9_universal2", on(Platform::MacosAmd64, "3.12", None), true),
            ("cp312-cp312-manylinux2014_aarch64", on(Platform::LinuxArm64, "3.12", None), true),
            ("cp312-cp312-manylinux1_aarch64", on(Platform::LinuxArm64, "3.12", None), false),
            ("cp312-cp312-manylinux_2_39_aarch64", on(Platform::LinuxArm64, "3.12", None), true),
            ("py3-none-any-cu126", linux("3.12"), false),
        ] {
            assert_eq!(wheel(tags).rank(&machine).is_some(), fits, "{tags} on {machine:?}");
        }
    }

    /// Each is better than the next.
    #[test]
    fn the_order_is_that_of_pip() {
        let machine = linux("3.12");
        let order = [
            "2-cp312-cp312-manylinux_2_28_x86_64",
            "1b-cp312-cp312-manylinux_2_28_x86_64",
            "1a-cp312-cp312-manylinux_2_28_x86_64",
            "cp312-cp312-manylinux_2_28_x86_64",
            "cp312-cp312-manylinux_2_17_x86_64",
            "cp312-cp312-manylinux2014_x86_64",
            "cp312-cp312-manylinux_2_16_x86_64",
            "cp312-cp312-linux_x86_64",
            "cp312-abi3-manylinux_2_28_x86_64",
            "cp312-none-manylinux_2_28_x86_64",
            "cp311-abi3-manylinux2014_x86_64",
            "cp38-abi3-manylinux_2_28_x86_64",
            "py312-none-manylinux1_x86_64",
            "py3-none-linux_x86_64",
            "py311-none-manylinux_2_28_x86_64",
            "py30-none-manylinux_2_28_x86_64",
            "cp312-none-any",
            "py312-none-any",
            "py3-none-any",
            "py311-none-any",
        ];
        let ranks: Vec<_> = order.iter().map(|tags| wheel(tags).rank(&machine)).collect();
        for (pair, tags) in ranks.windows(2).zip(order.windows(2)) {
            assert!(pair[0] > pair[1] && pair[1].is_some(), "{tags:?}");
        }
    }

    #[test]
    fn the_floor_is_the_lowest_that_is_promised() {
        let floor = |tags: &str, machine: &Machine| wheel(tags).glibc(machine);
        let machine = linux("3.12");
        let both = "cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64";
        assert_eq!(floor(both, &machine), Some(Glibc::new(2, 27)));
        assert_eq!(floor("py3-none-manylinux1_x86_64.win_amd64", &machine), Some(Glibc::new(2, 5)));
        for none in ["py3-none-any", "py3-none-linux_x86_64", "py3-none-manylinux_2_39_x86_64"] {
            assert_eq!(floor(none, &machine), None, "{none}");
        }
        // Without a glibc, what asks for less is better.
        let unknown = on(Platform::LinuxAmd64, "3.12", None);
        let rank = |tag: &str| wheel(&format!("cp312-cp312-{tag}")).rank(&unknown);
        assert!(rank("manylinux_2_17_x86_64") > rank("manylinux_2_39_x86_64"));
        assert!(rank("manylinux_2_39_x86_64") > rank("linux_x86_64"));
    }
}
