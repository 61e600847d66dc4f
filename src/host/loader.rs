//! Which files the loader may pick for the driver's libraries and for CUDA's: LD_LIBRARY_PATH, then the
//! cache of ld.so, then its own folders.

use super::machine::Machine;
use super::{Loader, LoaderFile};

/// CUDA's libraries as their file names begin.
const CUDA: &[&str] = &[
    "libcublas.so.",
    "libcublasLt.so.",
    "libcudart.so.",
    "libcudnn",
    "libcufile.so.",
    "libcufft.so.",
    "libcupti.so.",
    "libcurand.so.",
    "libcusolver.so.",
    "libcusparse.so.",
    "libcusparseLt.so.",
    "libnccl.so.",
    "libnvJitLink.so.",
    "libnvinfer.so.",
    "libnvrtc.so.",
    "libnvshmem_host.so.",
];

/// Folders of drivers that are searched only where ldconfig or LD_LIBRARY_PATH says so.
const DRIVER_FOLDERS: &[&str] = &[
    "/usr/lib/wsl/lib",
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
    "/usr/lib64/nvidia",
    "/usr/lib/x86_64-linux-gnu/nvidia/current",
    "/usr/lib/aarch64-linux-gnu/nvidia",
    "/usr/lib/aarch64-linux-gnu/tegra",
    "/run/opengl-driver/lib",
    "/home/kubernetes/bin/nvidia/lib64",
];

/// Folders that ld.so itself knows.
const DEFAULTS: &[&str] = &[MULTIARCH[0], MULTIARCH[1], "/lib64", "/usr/lib64", "/lib", "/usr/lib"];

/// Debian's own, by the machine.
const MULTIARCH: [&str; 2] = if cfg!(target_arch = "aarch64") {
    ["/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu"]
} else {
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu"]
};

pub(super) fn look(machine: &Machine) -> Loader {
    let found = search(machine);
    let of = |soname: &str| -> Vec<LoaderFile> {
        found.iter().filter(|file| file.soname == soname).cloned().collect()
    };
    let libcuda = of("libcuda.so.1");
    let marked = |mark: &str| -> Vec<&LoaderFile> {
        let in_it = |path: &str| path.contains(mark);
        let is =
            |file: &&LoaderFile| in_it(&file.path) || file.target.as_deref().is_some_and(in_it);
        libcuda.iter().filter(is).collect()
    };
    let mut compat: Vec<String> = Vec::new();
    for file in marked("/compat/") {
        let folder = folder(&file.path);
        if !compat.iter().any(|known| known == folder) {
            compat.push(folder.to_owned());
        }
    }
    let stubs = marked("/stubs/").into_iter().map(|file| file.path.clone()).collect();
    let known: Vec<&str> =
        found.iter().map(|file| file.target.as_deref().unwrap_or(&file.path)).collect();
    let mut unsearched: Vec<String> = Vec::new();
    for folder in DRIVER_FOLDERS {
        for name in ["libcuda.so.1", "libnvidia-ml.so.1"] {
            let path = format!("{folder}/{name}");
            let real = if machine.is_file(&path) { machine.real(&path) } else { None };
            if real.is_some_and(|real| !known.contains(&real.as_str())) {
                unsearched.push(path);
            }
        }
    }
    Loader {
        libnvidia_ml: of("libnvidia-ml.so.1"),
        libraries: found
            .iter()
            .filter(|file| !matches!(file.soname.as_str(), "libcuda.so.1" | "libnvidia-ml.so.1"))
            .cloned()
            .collect(),
        libcuda,
        compat,
        stubs,
        unsearched,
    }
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Every file that one of the names may mean, in the order of the search.
fn search(machine: &Machine) -> Vec<LoaderFile> {
    let mut found: Vec<LoaderFile> = Vec::new();
    let mut add = |soname: &str, path: String, by: &str| {
        if !matters(soname) || found.iter().any(|file| file.path == path) || !machine.is_file(&path)
        {
            return;
        }
        let target = machine.real(&path).filter(|real| *real != path);
        found.push(LoaderFile { soname: soname.to_owned(), path, target, found_by: by.to_owned() });
    };
    let by_user = machine.env("LD_LIBRARY_PATH").unwrap_or_default();
    for folder in by_user.split([':', ';']).filter(|folder| folder.starts_with('/')) {
        let folder = folder.trim_end_matches('/');
        for name in machine.list(folder).unwrap_or_default() {
            add(&name, format!("{folder}/{name}"), "LD_LIBRARY_PATH");
        }
    }
    if let Some(bytes) = machine.bytes(CACHE) {
        let entries = cached(&bytes);
        if entries.is_none() {
            machine.missed(CACHE, "not in the form of glibc 2.2 and later");
        }
        for (soname, path) in entries.into_iter().flatten() {
            add(&soname, path, "ld.so.cache");
        }
    }
    for folder in DEFAULTS {
        for name in machine.list(folder).unwrap_or_default() {
            add(&name, format!("{folder}/{name}"), "default");
        }
    }
    found
}

/// A soname of the driver or of CUDA: `libcudart.so.12`, `libcudart.so.11.0`, and not the file behind it,
/// `libcudart.so.12.4.127`.
fn matters(name: &str) -> bool {
    if matches!(name, "libcuda.so.1" | "libnvidia-ml.so.1") {
        return true;
    }
    let is_version = |text: &str| {
        let parts: Vec<&str> = text.split('.').collect();
        parts.len() <= 2
            && parts.iter().all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
    };
    CUDA.iter().any(|start| name.starts_with(start))
        && name.split_once(".so.").is_some_and(|(_, version)| is_version(version))
}

const CACHE: &str = "/etc/ld.so.cache";

/// Names and paths in the cache of ld.so, in its order, for this machine's own kind of program.
///
/// Source: `sysdeps/generic/dl-cache.h` of glibc. An older form may stand before the one that counts:
/// its offsets begin at its own mark.
fn cached(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    const MARK: &[u8] = b"glibc-ld.so.cache1.1";
    const HEADER: usize = 48;
    const ENTRY: usize = 24;
    let start = bytes.windows(MARK.len()).position(|window| window == MARK)?;
    let cache = &bytes[start..];
    let number = |at: usize| -> Option<usize> {
        let four = cache.get(at..at.checked_add(4)?)?;
        usize::try_from(u32::from_le_bytes(four.try_into().ok()?)).ok()
    };
    let text = |at: usize| -> Option<String> {
        let rest = cache.get(at..)?;
        let end = rest.iter().position(|b| *b == 0)?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    };
    // ELF with glibc, and the machine: a 32-bit copy of the driver beside it is nobody's choice.
    let wanted = match std::env::consts::ARCH {
        "aarch64" => 0x0a03,
        "powerpc64" => 0x0503,
        _ => 0x0303,
    };
    let count = number(MARK.len())?;
    // What the header claims is not believed beyond the bytes that are there.
    let most = cache.len().saturating_sub(HEADER) / ENTRY;
    let mut list = Vec::new();
    for at in (0..count.min(most)).map(|index| HEADER + index * ENTRY) {
        if number(at)? & 0xffff == wanted
            && let (Some(name), Some(path)) = (text(number(at + 4)?), text(number(at + 8)?))
            && matters(&name)
        {
            list.push((name, path));
        }
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::machine::tests::machine;

    /// A cache as ldconfig writes it.
    fn cache(entries: &[(u32, &str, &str)]) -> Vec<u8> {
        let mut strings = Vec::new();
        let mut rows = Vec::new();
        let base = 48 + 24 * entries.len();
        for (flags, name, path) in entries {
            let mut put = |text: &str| {
                let at = u32::try_from(base + strings.len()).expect("small");
                strings.extend_from_slice(text.as_bytes());
                strings.push(0);
                at
            };
            let (key, value) = (put(name), put(path));
            for number in [*flags, key, value, 0, 0, 0] {
                rows.extend(number.to_le_bytes());
            }
        }
        let mut all = b"glibc-ld.so.cache1.1".to_vec();
        all.extend(u32::try_from(entries.len()).expect("few").to_le_bytes());
        all.extend(u32::try_from(strings.len()).expect("small").to_le_bytes());
        all.resize(48, 0);
        all.extend(rows);
        all.extend(strings);
        all
    }

    fn native() -> u32 {
        if cfg!(target_arch = "aarch64") { 0x0a03 } else { 0x0303 }
    }

    #[cfg(unix)]
    #[test]
    fn the_search_of_the_loader() {
        let (root, machine) = machine(&[
            ("/proc/self/environ", "LD_LIBRARY_PATH=/usr/local/cuda/compat:/opt/stubs/:relative\0"),
            ("/usr/local/cuda/compat/libcuda.so.1", "->libcuda.so.560.35.05"),
            ("/usr/local/cuda/compat/libcuda.so.560.35.05", ""),
            ("/opt/stubs/libcuda.so.1", ""),
            ("/usr/lib/driver/libcuda.so.1", "->libcuda.so.550.54.14"),
            ("/usr/lib/driver/libcuda.so.550.54.14", ""),
            ("/usr/lib/driver/libcudart.so.12", ""),
            ("/usr/lib32/libcuda.so.1", ""),
            ("/usr/lib/libcudnn.so.9", ""),
            ("/usr/lib/libcudnn.so.9.10.2", ""),
            ("/usr/lib/wsl/lib/libcuda.so.1", ""),
        ]);
        let bytes = cache(&[
            (native(), "libcudart.so.12", "/usr/lib/driver/libcudart.so.12"),
            (0x0003, "libcuda.so.1", "/usr/lib32/libcuda.so.1"),
            (native(), "libcuda.so.1", "/usr/lib/driver/libcuda.so.1"),
            (native(), "libcuda.so.1", "/usr/lib/gone/libcuda.so.1"),
            (native(), "libz.so.1", "/usr/lib/libz.so.1"),
        ]);
        let mut with_old_form = b"ld.so-1.7.0\0\0\0\0\0".to_vec();
        with_old_form.extend(bytes);
        fs_err::create_dir_all(root.path().join("etc")).expect("a folder");
        fs_err::write(root.path().join("etc/ld.so.cache"), with_old_form).expect("a cache");
        let loader = look(&machine);
        let order: Vec<_> =
            loader.libcuda.iter().map(|f| (f.path.as_str(), f.found_by.as_str())).collect();
        assert_eq!(
            order,
            [
                ("/usr/local/cuda/compat/libcuda.so.1", "LD_LIBRARY_PATH"),
                ("/opt/stubs/libcuda.so.1", "LD_LIBRARY_PATH"),
                ("/usr/lib/driver/libcuda.so.1", "ld.so.cache"),
            ]
        );
        let target = loader.libcuda[2].target.as_deref();
        assert_eq!(target, Some("/usr/lib/driver/libcuda.so.550.54.14"));
        assert_eq!(loader.compat, ["/usr/local/cuda/compat"]);
        assert_eq!(loader.stubs, ["/opt/stubs/libcuda.so.1"]);
        assert_eq!(loader.unsearched, ["/usr/lib/wsl/lib/libcuda.so.1"]);
        let names: Vec<_> = loader.libraries.iter().map(|f| f.soname.as_str()).collect();
        assert_eq!(names, ["libcudart.so.12", "libcudnn.so.9"]);
        assert_eq!(loader.libnvidia_ml, []);
        assert_eq!(machine.all_missed(), []);
    }

    #[test]
    fn a_broken_cache_is_no_panic() {
        let good = cache(&[(native(), "libcuda.so.1", "/a/libcuda.so.1")]);
        assert_eq!(cached(&good).expect("a cache").len(), 1);
        for cut in 0..good.len() {
            let _ = cached(&good[..cut]);
        }
        let mut lies = good.clone();
        lies[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(cached(&lies).expect("a cache").len() <= 1);
        lies[52..56].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(cached(&lies).expect("a cache"), []);
        assert_eq!(cached(b"ld.so-1.7.0\0 of old"), None);
    }
}
