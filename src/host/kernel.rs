//! The kernel module: as procfs shows it, and its files on disk.
//!
//! [`look`] is what `--gpu host` needs: the cards and the driver as the kernel module tells them in
//! procfs, which needs no library and no rights.

use std::path::Path;

use super::machine::Machine;
use super::{Module, ModuleFile, Told};
use crate::domain::{DriverVersion, KernelModule, Order as _, shown};

/// What the kernel module says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Version of the kernel module.
    pub driver: DriverVersion,
    /// Its flavour.
    pub module: KernelModule,
    /// Models of the cards as the driver names them, each once, in the order of their bus ids.
    pub gpus: Vec<String>,
}

/// Why nothing can be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The kernel module is not loaded, or this is no Linux.
    #[error("no NVIDIA driver is loaded here: there is no `{0}`")]
    NoDriver(String),
    /// The module is there, and tells nothing that can be read.
    #[error("`{0}` is not understood")]
    Odd(String),
    /// The driver sees no card.
    #[error("the driver {0} is loaded, and lists no card")]
    NoGpu(DriverVersion),
}

/// Looks below a root folder: `/`, or a recorded host.
///
/// # Errors
/// See [`Error`].
pub fn look(root: &Path) -> Result<Host, Error> {
    let machine = Machine::new(root);
    let text = machine.read(VERSION).ok_or_else(|| Error::NoDriver(VERSION.into()))?;
    let (driver, module) =
        version(&text).ok_or_else(|| Error::Odd(shown(text.lines().next().unwrap_or_default())))?;
    let mut gpus: Vec<String> = Vec::new();
    for model in models(&machine) {
        if !gpus.contains(&model) {
            gpus.push(model);
        }
    }
    if gpus.is_empty() { Err(Error::NoGpu(driver)) } else { Ok(Host { driver, module, gpus }) }
}

const VERSION: &str = "/proc/driver/nvidia/version";

/// `NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build ...`
fn version(text: &str) -> Option<(DriverVersion, KernelModule)> {
    let line = text.lines().next()?;
    let driver = line
        .split_whitespace()
        .filter(|word| word.contains('.'))
        .find_map(|word| word.parse::<DriverVersion>().ok())?;
    let open = line.contains("Open Kernel Module");
    Some((driver, if open { KernelModule::Open } else { KernelModule::Proprietary }))
}

/// Model of each card, in the order of their bus ids.
fn models(machine: &Machine) -> Vec<String> {
    const GPUS: &str = "/proc/driver/nvidia/gpus";
    let cards = machine.list(GPUS).unwrap_or_default();
    let texts = cards.iter().filter_map(|card| machine.read(&format!("{GPUS}/{card}/information")));
    let model = |text: String| {
        let model = text.lines().find_map(|line| line.strip_prefix("Model:"))?.trim();
        (!model.is_empty()).then(|| model.to_owned())
    };
    texts.filter_map(model).collect()
}

/// The module that is loaded.
pub(super) fn module(machine: &Machine, files: &[ModuleFile]) -> Option<Told<Module>> {
    const SYSFS: &str = "/sys/module/nvidia/version";
    let text = machine.read(VERSION);
    let read = text.as_deref().and_then(version);
    if let (Some(text), None) = (&text, &read) {
        machine.missed(VERSION, format!("not understood: {}", shown(text.trim())));
    }
    let (driver, flavour, source) = match read {
        Some((driver, flavour)) => (driver, Some(flavour), VERSION),
        None => (machine.line(SYSFS)?.parse().ok()?, None, SYSFS),
    };
    let running = machine.line(RUNNING);
    let on_disk = files
        .iter()
        .find(|file| Some(&file.kernel) == running.as_ref())
        .and_then(|file| file.version);
    Some(Told::new(Module { driver, flavour, models: models(machine), on_disk }, source))
}

const RUNNING: &str = "/proc/sys/kernel/osrelease";

/// Files of the module below `/lib/modules`. modinfo reads their versions: most are compressed.
pub(super) fn files(machine: &Machine) -> Vec<ModuleFile> {
    const MODULES: &str = "/lib/modules";
    let modinfo = machine.which("modinfo").or_else(|| {
        // Not everybody has the folders of root on PATH.
        ["/usr/sbin/modinfo", "/sbin/modinfo"]
            .iter()
            .find(|p| machine.is_file(p))
            .map(|p| (*p).to_owned())
    });
    let kernels = machine.list(MODULES).unwrap_or_default();
    let file = |kernel: String| {
        let folder = format!("{MODULES}/{kernel}");
        let known = machine.read(&format!("{folder}/modules.dep"))?;
        let path = known.lines().filter_map(|line| line.split(':').next()).find(|path| {
            let name = path.rsplit('/').next().unwrap_or_default();
            // Debian's are called after their package.
            name.split_once(".ko").is_some_and(|(stem, _)| {
                matches!(stem, "nvidia" | "nvidia-open" | "nvidia-current" | "nvidia-current-open")
                    || stem.starts_with("nvidia-tesla-")
                        && stem.ends_with(|c: char| c.is_ascii_digit())
            })
        })?;
        let version = modinfo.as_ref().and_then(|modinfo| {
            let said = machine.answer(modinfo, &["-F", "version", &format!("{folder}/{path}")])?;
            said.trim().parse().ok()
        });
        Some(ModuleFile { kernel, version })
    };
    kernels.into_iter().filter_map(file).collect()
}

/// Modules that are loaded and matter.
pub(super) fn loaded(machine: &Machine) -> Option<Told<Vec<String>>> {
    const LOADED: &str = "/proc/modules";
    let text = machine.read(LOADED)?;
    let matters = |name: &&str| {
        name.starts_with("nvidia") || matches!(*name, "nouveau" | "nova_core" | "gdrdrv")
    };
    let mut names: Vec<String> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(matters)
        .map(str::to_owned)
        .collect();
    names.order();
    Some(Told::new(names, LOADED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(version: Option<&str>, models: &[&str]) -> Result<Host, Error> {
        let root = tempfile::tempdir().expect("a folder");
        let nvidia = root.path().join("proc/driver/nvidia");
        fs_err::create_dir_all(&nvidia).expect("a folder");
        if let Some(version) = version {
            fs_err::write(nvidia.join("version"), version).expect("a file");
        }
        for (at, model) in models.iter().enumerate() {
            let card = nvidia.join(format!("gpus/0000:0{at}:00.0"));
            fs_err::create_dir_all(&card).expect("a folder");
            let text = format!("Model: \t\t {model}\nIRQ:   \t\t 120\n");
            fs_err::write(card.join("information"), text).expect("a file");
        }
        look(root.path())
    }

    #[test]
    fn the_kernel_module_tells() {
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder@host)  Sun Jul\nGCC version:  gcc version 12.2.0\n";
        let found =
            host(Some(open), &["NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3", "NVIDIA L4"]);
        let found = found.expect("a host");
        assert_eq!(found.driver.to_string(), "580.65.06");
        assert_eq!(found.module, KernelModule::Open);
        assert_eq!(found.gpus, ["NVIDIA H100 80GB HBM3", "NVIDIA L4"]);
        let old = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13\n";
        let found = host(Some(old), &["Tesla K80"]).expect("a host");
        assert_eq!(
            (found.driver.to_string().as_str(), found.module),
            ("470.57.02", KernelModule::Proprietary)
        );
        assert!(matches!(host(None, &[]), Err(Error::NoDriver(_))));
        assert!(matches!(host(Some(open), &[]), Err(Error::NoGpu(_))));
        assert!(matches!(host(Some("no version"), &["x"]), Err(Error::Odd(_))));
    }

    #[test]
    fn loaded_and_on_disk() {
        use crate::host::machine::tests::machine;
        let modinfo = "#!/bin/sh\ncase $3 in */6.8.0-45/*) echo 580.95.05;; *) exit 1;; esac\n";
        let (_root, upgraded) = machine(&[
            ("/proc/self/environ", "PATH=/usr/bin\0"),
            ("/proc/sys/kernel/osrelease", "6.8.0-45\n"),
            (
                "/proc/driver/nvidia/version",
                "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.133.20  Sun\n",
            ),
            ("/proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t Unknown\n"),
            ("/proc/driver/nvidia/gpus/0000:02:00.0/information", "Model: \t NVIDIA L4\n"),
            ("/proc/modules", "nvidia_uvm 1 0 - Live 0x0\next4 1 0\nnvidia 9 2 nvidia_uvm, Live\n"),
            ("/lib/modules/6.8.0-40/modules.dep", "updates/dkms/nvidia-current.ko.xz:\n"),
            (
                "/lib/modules/6.8.0-45/modules.dep",
                "kernel/a/nvidia-uvm.ko: x\nkernel/a/nvidia.ko.zst:\n",
            ),
            ("/lib/modules/6.8.0-47/modules.dep", "updates/dkms/nvidia-current-uvm.ko:\n"),
            ("*/usr/sbin/modinfo", modinfo),
        ]);
        let files = files(&upgraded);
        let told = module(&upgraded, &files).expect("a module");
        assert_eq!(
            (told.value.driver.to_string().as_str(), told.source.as_str()),
            ("570.133.20", VERSION)
        );
        assert_eq!(told.value.models, ["Unknown", "NVIDIA L4"]);
        assert_eq!(loaded(&upgraded).expect("a list").value, ["nvidia", "nvidia_uvm"]);
        let kernels: Vec<&str> = files.iter().map(|file| file.kernel.as_str()).collect();
        assert_eq!(kernels, ["6.8.0-40", "6.8.0-45"]);
        #[cfg(unix)]
        {
            assert_eq!(told.value.on_disk.map(|v| v.to_string()).as_deref(), Some("580.95.05"));
            // A failing modinfo is no version, and no silence.
            assert_eq!(files[0].version, None);
            assert!(upgraded.all_missed().iter().any(|note| note.what.contains("6.8.0-40")));
        }

        let (_root, bare) = machine(&[("/sys/module/nvidia/version", "540.4.0\n")]);
        let told = module(&bare, &[]).expect("a module");
        assert_eq!((told.value.flavour, told.value.models.len()), (None, 0));
        let (_root, odd) = machine(&[("/proc/driver/nvidia/version", "what is this\n")]);
        assert_eq!(module(&odd, &[]), None);
        assert_eq!(odd.all_missed().len(), 1);
        assert_eq!(loaded(&odd), None);
    }
}
