//! CUDA toolkits: every nvcc that PATH, `CUDA_HOME` and the usual folders hold.

use super::machine::Machine;
use super::{Told, Toolkit};
use crate::domain::CudaVersion;

pub(super) fn look(machine: &Machine) -> Vec<Told<Toolkit>> {
    let on_path = machine.on_path("nvcc");
    let first = on_path.first().cloned();
    let file = format!("nvcc{}", std::env::consts::EXE_SUFFIX);
    let named = ["CUDA_HOME", "CUDA_PATH", "CUDA_ROOT"].iter().filter_map(|name| machine.env(name));
    let usual = machine.list("/usr/local").unwrap_or_default();
    let usual = usual
        .iter()
        .filter(|name| name.starts_with("cuda"))
        .map(|name| format!("/usr/local/{name}"));
    let homes = named.map(str::to_owned).chain(usual).chain(["/opt/cuda".to_owned()]);
    let candidates = on_path.into_iter().chain(homes.map(|home| format!("{home}/bin/{file}")));
    let mut seen: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for path in candidates {
        let Some(real) = machine.real(&path).filter(|_| machine.is_file(&path)) else { continue };
        if seen.contains(&real) {
            continue;
        }
        if let Some((cuda, source)) = version(machine, &path, &real) {
            let first_on_path = first.as_ref() == Some(&path);
            found.push(Told::new(Toolkit { path, cuda, first_on_path }, source));
        }
        seen.push(real);
    }
    found
}

/// From the files of the toolkit, which cost no start of a program; else nvcc's own word.
fn version(machine: &Machine, path: &str, real: &str) -> Option<(CudaVersion, String)> {
    let above = |path: &str| path.rsplit_once('/').map(|(folder, _)| folder.to_owned());
    let home = above(real).and_then(|bin| above(&bin));
    if let Some(home) = home.filter(|home| !matches!(home.as_str(), "" | "/usr")) {
        let json = format!("{home}/version.json");
        let told = || {
            let value: serde_json::Value = serde_json::from_str(&machine.read(&json)?).ok()?;
            let part = |name: &str| value.get(name)?.get("version")?.as_str()?.parse().ok();
            part("cuda").or_else(|| part("cuda_nvcc"))
        };
        if let Some(cuda) = told() {
            return Some((cuda, json));
        }
        // `CUDA Version 10.1.243`, before 11.1.
        let text = format!("{home}/version.txt");
        let line = machine.line(&text);
        let cuda = line.and_then(|line| line.strip_prefix("CUDA Version ")?.parse().ok());
        if let Some(cuda) = cuda {
            return Some((cuda, text));
        }
    }
    let said = machine.answer(path, &["--version"])?;
    // `Cuda compilation tools, release 12.4, V12.4.131`
    let release =
        said.split("release ").nth(1).and_then(|rest| rest.split([',', ' ', '\n']).next());
    let cuda = release.and_then(|release| release.parse().ok());
    if cuda.is_none() {
        machine.missed(path, "its answer to `--version` names no release");
    }
    Some((cuda?, format!("{path} --version")))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::host::machine::tests::machine;

    #[test]
    fn every_nvcc_once() {
        let nvcc = "#!/bin/sh\necho 'nvcc: NVIDIA (R) Cuda compiler driver'\necho 'Cuda compilation tools, release 11.8, V11.8.89'\n";
        let (_root, machine) = machine(&[
            ("/proc/self/environ", "PATH=/usr/bin:/usr/local/cuda/bin\0CUDA_HOME=/opt/toolkit\0"),
            ("*/usr/bin/nvcc", nvcc),
            ("/usr/local/cuda", "->cuda-12.4"),
            ("*/usr/local/cuda-12.4/bin/nvcc", "#!/bin/sh\nexit 9\n"),
            (
                "/usr/local/cuda-12.4/version.json",
                r#"{"cuda": {"name": "CUDA SDK", "version": "12.4.1"}}"#,
            ),
            ("*/opt/toolkit/bin/nvcc", "#!/bin/sh\nexit 9\n"),
            ("/opt/toolkit/version.txt", "CUDA Version 10.1.243\n"),
            ("*/usr/local/cuda-9/bin/nvcc", "#!/bin/sh\nexit 9\n"),
        ]);
        let told: Vec<_> = look(&machine)
            .into_iter()
            .map(|told| {
                let Toolkit { path, cuda, first_on_path } = told.value;
                (path, cuda.to_string(), first_on_path, told.source)
            })
            .collect();
        let row = |path: &str, cuda: &str, first, source: &str| {
            (path.to_owned(), cuda.to_owned(), first, source.to_owned())
        };
        assert_eq!(
            told,
            [
                row("/usr/bin/nvcc", "11.8", true, "/usr/bin/nvcc --version"),
                row(
                    "/usr/local/cuda/bin/nvcc",
                    "12.4.1",
                    false,
                    "/usr/local/cuda-12.4/version.json"
                ),
                row("/opt/toolkit/bin/nvcc", "10.1.243", false, "/opt/toolkit/version.txt"),
            ]
        );
        let missed = machine.all_missed();
        assert!(missed.iter().any(|note| note.what.starts_with("/usr/local/cuda-9/bin/nvcc")));
    }
}
