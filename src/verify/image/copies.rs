//! What the loader will take, what else it might, and what leads it astray.

use std::path::{Path, PathBuf};

use super::loader::{Loaded, Rule, of_wheels};
use super::{Seen, names_in};
use crate::domain::{Code, shown};
use crate::host::{Facts, LoaderFile};
use crate::verify::Check;

/// Libraries of which two copies may meet in one process.
const FAMILIES: &[&str] = &[
    "libcublas",
    "libcublasLt",
    "libcudart",
    "libcudnn",
    "libcufft",
    "libcufile",
    "libcupti",
    "libcurand",
    "libcusolver",
    "libcusparse",
    "libcusparseLt",
    "libnccl",
    "libnvJitLink",
    "libnvrtc",
    "libnvshmem_host",
];

/// `loader`: everything that torch needs of CUDA is found; which file, and by which rule.
pub fn loader(seen: &Seen<'_>) -> Check {
    let process = &seen.process;
    if let Some((path, why)) = process.unread.first() {
        let text =
            format!("{} is where the loader finds it, and is no library: {why}", path.display());
        return Check::fail("loader", Code::LockDrift, text).help(
            "install the package again that it belongs to: a download may have been cut off",
        );
    }
    if let Some(missing) = process.missing.first() {
        let names: Vec<_> = process.missing.iter().map(|missing| missing.name.as_str()).collect();
        let text =
            format!("{} needs {}, which is not found", missing.by.display(), names.join(", "));
        return Check::fail("loader", Code::CompanionMismatch, text)
            .help("install torch again with its dependencies: its nvidia-* packages bring these libraries");
    }
    let cuda: Vec<&Loaded> = FAMILIES.iter().filter_map(|family| process.of(family)).collect();
    if cuda.is_empty() {
        return Check::not_needed("loader", "torch needs no library of CUDA's by name");
    }
    let mut check = Check::pass("loader", format!("{} libraries of CUDA are found", cuda.len()));
    for loaded in cuda {
        let by = process.asker(loaded).map_or_else(String::new, |by| format!(" for {by}"));
        let source = format!("{}{by}", loaded.rule.text());
        check = check.fact(loaded.path.display().to_string(), source);
    }
    check
}

/// Paths of one file may differ by links.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Folders of toolkits, whether the loader searches them or not.
const TOOLKITS: &[&str] = &["/usr/local/cuda/lib64", "/usr/local/cuda/targets/x86_64-linux/lib"];

/// Copies of a library other than the one that is loaded, each once, with how they come to be found.
fn others(seen: &Seen<'_>, facts: &Facts, loaded: &Loaded) -> Vec<(PathBuf, String)> {
    let own = real(&loaded.path);
    let name = loaded.name.as_str();
    let (stem, _) = name.split_once(".so").unwrap_or((name, ""));
    let start = format!("{stem}.so.");
    let mut list: Vec<(PathBuf, String)> = Vec::new();
    let mut add = |path: PathBuf, by: &str| {
        let at = real(&path);
        if at != own && at.is_file() && !list.iter().any(|(known, _)| real(known) == at) {
            list.push((path, by.to_owned()));
        }
    };
    let same = |file: &&LoaderFile| file.soname.starts_with(&start);
    for file in facts.loader.libraries.iter().filter(same) {
        add(PathBuf::from(&file.path), &file.found_by);
    }
    for site in seen.sites() {
        for path in of_wheels(site, &start) {
            add(path, "packages of Python");
        }
    }
    let torch = seen.torch.iter().map(|torch| torch.join("lib"));
    for (folder, by) in torch
        .map(|lib| (lib, "torch itself"))
        .chain(TOOLKITS.iter().map(|folder| (PathBuf::from(folder), "toolkit")))
    {
        for name in names_in(&folder).iter().filter(|name| name.starts_with(&start)) {
            add(folder.join(name), by);
        }
    }
    list
}

/// It lies where torch's wheels put it.
fn of_torch(seen: &Seen<'_>, path: &Path) -> bool {
    let inside =
        |site: &String| path.starts_with(site) || real(path).starts_with(real(Path::new(site)));
    seen.sites().iter().any(inside)
}

/// `second-copy`: of each library one copy, or at least the one that came with torch is loaded.
pub fn second(seen: &Seen<'_>, facts: &Facts) -> Check {
    let mut harmless: Vec<(PathBuf, String)> = Vec::new();
    for family in FAMILIES {
        let Some(loaded) = seen.process.of(family) else { continue };
        let others = others(seen, facts, loaded);
        let brought = others.iter().find(|(path, _)| of_torch(seen, path));
        if !of_torch(seen, &loaded.path)
            && let Some((own, _)) = brought
        {
            return astray(loaded, own);
        }
        harmless.extend(others);
    }
    // The parts of cuDNN are not in the list above: they belong to the file that loads them.
    let cudnn = seen.process.of("libcudnn");
    let parts = seen.process.loaded.iter().filter(|loaded| loaded.name.starts_with("libcudnn_"));
    for part in parts {
        let shim = cudnn.map_or(Path::new(""), |cudnn| &cudnn.path);
        let beside = shim.with_file_name(&part.name);
        if real(&beside).parent() != real(&part.path).parent() {
            return astray(part, &beside);
        }
    }
    let torches = seen.python.and_then(|python| python.torch.as_ref());
    let torches = torches.map(|torch| torch.others.as_slice()).unwrap_or_default();
    harmless.extend(torches.iter().map(|other| (PathBuf::from(other), "sys.path".to_owned())));
    let Some((path, _)) = harmless.first() else {
        return Check::pass("second-copy", "no library of CUDA's is there twice");
    };
    let more = match harmless.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let text = format!(
        "{}{more} lies beside the copy that torch loads: nothing takes it now, and a changed LD_LIBRARY_PATH or another program may",
        path.display()
    );
    let mut check = Check::warn("second-copy", Code::LibraryShadowed, text)
        .number("copies", harmless.len())
        .help("leave it out of the image: torch's wheels bring what they need");
    for (path, by) in harmless.iter().take(12) {
        check = check.fact(path.display().to_string(), by.as_str());
    }
    check
}

fn astray(loaded: &Loaded, own: &Path) -> Check {
    let text = format!(
        "torch will load {} and not {}, which came with it: {} comes first",
        loaded.path.display(),
        own.display(),
        loaded.rule.text()
    );
    let help = match loaded.rule {
        Rule::LibraryPath => {
            "take the folder out of LD_LIBRARY_PATH: the wheels find their own libraries"
        }
        Rule::Preload => "unset LD_PRELOAD",
        _ => "remove the other copy, or install torch again so that it finds its own",
    };
    Check::fail("second-copy", Code::LibraryShadowed, text)
        .fact(loaded.path.display().to_string(), loaded.rule.text())
        .fact(own.display().to_string(), "packages of Python")
        .help(help)
}

/// `driver-in-image`: the driver's libraries come from the host, and are not part of the image.
pub fn driver(facts: &Facts) -> Option<Check> {
    let container = facts.container.as_ref()?;
    let mounts = fs_err::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let of_image = |path: &str| {
        // cuda-compat and the toolkit's stubs are meant to be in images, and are judged elsewhere.
        let meant = ["/compat", "/stubs"].iter().any(|folder| path.contains(folder));
        !meant && !mounted(&mounts, path)
    };
    let target = |file: &LoaderFile| file.target.clone().unwrap_or_else(|| file.path.clone());
    let loader = &facts.loader;
    let first = loader.libcuda.first().map(target);
    let files = loader.libcuda.iter().chain(&loader.libnvidia_ml).map(target);
    let mut found: Vec<String> =
        files.chain(loader.unsearched.iter().cloned()).filter(|path| of_image(path)).collect();
    found.dedup();
    let packages = &container.value.driver_packages;
    if found.is_empty() && packages.is_empty() {
        return Some(Check::pass("driver-in-image", "the image holds no driver of its own"));
    }
    let what = match packages.as_slice() {
        [] => found.join(", "),
        packages => format!("packages of a driver: {}", packages.join(", ")),
    };
    let text = format!(
        "the image holds {what}; the driver's libraries come from the host, whose version decides"
    );
    // Where the host's own was mounted and is found first, it runs; elsewhere it may not.
    // LXC mounts none: whoever uses a GPU in it has to install the host's version.
    let hosts =
        first.is_some_and(|path| mounted(&mounts, &path)) || container.value.engine == "lxc";
    let mut check = if hosts {
        Check::warn("driver-in-image", Code::DriverLibraryMismatch, text)
    } else {
        Check::fail("driver-in-image", Code::DriverLibraryMismatch, text)
    };
    for path in found.iter().take(6) {
        check = check.fact(path.as_str(), "file of the image");
    }
    Some(check.help("leave it out of the image: the container toolkit mounts the host's"))
}

/// A file, or a folder above it, was mounted into the container. The fifth field is where.
fn mounted(mounts: &str, path: &str) -> bool {
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let mut below = places.filter(|place| *place != "/" && *place != "/usr");
    below.any(|place| {
        path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// A variable that changes what is computed, or whether anything is.
struct Variable {
    name: &'static str,
    /// The value is one that does so.
    leads: fn(&str) -> bool,
    why: &'static str,
}

const fn variable(name: &'static str, leads: fn(&str) -> bool, why: &'static str) -> Variable {
    Variable { name, leads, why }
}

fn is_on(value: &str) -> bool {
    !matches!(value.trim(), "" | "0" | "false" | "FALSE" | "no")
}

const VARIABLES: &[Variable] = &[
    variable(
        "CUDA_VISIBLE_DEVICES",
        |v| matches!(v.trim(), "" | "-1" | "NoDevFiles"),
        "hides every GPU",
    ),
    variable(
        "NVIDIA_VISIBLE_DEVICES",
        |v| matches!(v.trim(), "" | "void" | "none"),
        "keeps the container toolkit from handing GPUs over",
    ),
    variable(
        "NVIDIA_DRIVER_CAPABILITIES",
        |v| !v.trim().is_empty() && !v.split(',').any(|c| matches!(c.trim(), "all" | "compute")),
        "leaves out `compute`, without which libcuda is not mounted",
    ),
    variable("NVIDIA_DISABLE_REQUIRE", is_on, "lets the image start on drivers that it refuses"),
    variable(
        "NVIDIA_TF32_OVERRIDE",
        |v| !v.trim().is_empty(),
        "overrides what programs ask for: with 0 there is no TF32, with 1 fp32 loses 13 bits",
    ),
    variable("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", is_on, "makes torch's fp32 products TF32"),
    variable(
        "CUDA_FORCE_PTX_JIT",
        is_on,
        "makes the driver ignore machine code: every kernel is compiled, and what carries no PTX fails",
    ),
    variable(
        "CUDA_DISABLE_PTX_JIT",
        is_on,
        "forbids to compile PTX: cards without machine code in torch fail",
    ),
    variable(
        "CUDA_LAUNCH_BLOCKING",
        is_on,
        "makes every launch wait: it is for debugging, and slow",
    ),
    variable(
        "CUDA_INJECTION64_PATH",
        |v| !v.trim().is_empty(),
        "loads a library of somebody's into every CUDA program",
    ),
    variable("NCCL_P2P_DISABLE", is_on, "keeps GPUs from talking to each other directly"),
];

/// `env`: no variable of the image leads astray.
pub fn env(facts: &Facts) -> Check {
    let mut found: Vec<(String, String)> = Vec::new();
    for variable in VARIABLES {
        if let Some(value) = facts.env.get(variable.name).filter(|value| (variable.leads)(value)) {
            found.push((format!("{}=`{}`", variable.name, shown(value)), variable.why.to_owned()));
        }
    }
    if let Some(stub) = facts.loader.stubs.first() {
        let why = "is found by the loader: it is a stub of the toolkit's, for linking alone";
        found.push((stub.clone(), why.to_owned()));
    }
    let Some((what, why)) = found.first() else {
        return Check::pass("env", "no variable leads CUDA or torch astray");
    };
    let more = match found.len() {
        1 => String::new(),
        count => format!("; and {} more", count - 1),
    };
    let mut check = Check::warn("env", Code::EnvPath, format!("{what} {why}{more}"));
    for (what, why) in &found {
        check = check.fact(format!("{what} {why}"), "environment");
    }
    check.help("take it out of the image's ENV, unless it is meant")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::host::{Container, Told};
    use crate::verify::Outcome;

    #[test]
    fn what_was_mounted_is_the_hosts() {
        let mounts = "1 2 0:1 / / rw - overlay overlay rw\n\
             9 1 8:1 /x /usr/lib/x86_64-linux-gnu/libcuda.so.580.65.06 ro - ext4 /dev/sda1 ro\n\
             9 1 8:1 /x /usr/local/nvidia ro - ext4 /dev/sda1 ro\n";
        assert!(mounted(mounts, "/usr/lib/x86_64-linux-gnu/libcuda.so.580.65.06"));
        assert!(mounted(mounts, "/usr/local/nvidia/lib64/libcuda.so.1"));
        assert!(!mounted(mounts, "/usr/local/nvidia2/libcuda.so.1"));
        assert!(!mounted(mounts, "/usr/lib/x86_64-linux-gnu/libcuda.so.535.183.01"));
    }

    #[test]
    fn a_driver_in_an_image_and_on_a_host() {
        let libcuda = |path: &str| LoaderFile {
            soname: "libcuda.so.1".into(),
            path: path.into(),
            target: None,
            found_by: "default".into(),
        };
        let mut facts = Facts::default();
        facts.loader.libcuda = vec![libcuda("/no/such/libcuda.so.1")];
        // On a host it belongs there.
        assert_eq!(driver(&facts), None);
        facts.container = Some(Told::new(Container::default(), "test"));
        let check = driver(&facts).expect("a check");
        assert_eq!((check.outcome, check.code), (Outcome::Fail, Code::DriverLibraryMismatch));
        facts.loader.libcuda = vec![libcuda("/usr/local/cuda/compat/libcuda.so.1")];
        assert_eq!(driver(&facts).expect("a check").outcome, Outcome::Pass);
        let packages = vec!["libnvidia-compute-535".to_owned()];
        facts.container = Some(Told::new(
            Container { driver_packages: packages, ..Container::default() },
            "test",
        ));
        assert!(driver(&facts).expect("a check").text.contains("libnvidia-compute-535"));
    }

    #[test]
    fn variables() {
        let of = |pairs: &[(&str, &str)]| {
            let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let vars: BTreeMap<_, _> = pairs.iter().map(text).collect();
            env(&Facts { env: vars, ..Facts::default() }).outcome
        };
        let fine = [("CUDA_VISIBLE_DEVICES", "0"), ("NVIDIA_VISIBLE_DEVICES", "all")];
        assert_eq!(of(&fine), Outcome::Pass);
        assert_eq!(of(&[("NVIDIA_DRIVER_CAPABILITIES", "compute,utility")]), Outcome::Pass);
        for bad in [
            ("CUDA_VISIBLE_DEVICES", ""),
            ("CUDA_FORCE_PTX_JIT", "1"),
            ("NVIDIA_TF32_OVERRIDE", "0"),
            ("NVIDIA_DRIVER_CAPABILITIES", "utility"),
        ] {
            assert_eq!(of(&[bad]), Outcome::Warn, "{bad:?}");
        }
    }
}
