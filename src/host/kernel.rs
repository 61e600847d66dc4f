//! The kernel module as procfs shows it.
//!
//! What `--gpu host` needs: the cards and the driver as the kernel module tells them in
//! procfs, which needs no library and no rights.

use std::path::Path;

use crate::domain::{DriverVersion, KernelModule};

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
    let file = root.join("proc/driver/nvidia/version");
    let text = fs_err::read_to_string(&file)
        .map_err(|_| Error::NoDriver("/proc/driver/nvidia/version".into()))?;
    // `NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build ...`
    let line = text.lines().next().unwrap_or_default();
    let driver = line
        .split_whitespace()
        .filter(|word| word.contains('.'))
        .find_map(|word| word.parse::<DriverVersion>().ok())
        .ok_or_else(|| Error::Odd(crate::domain::shown(line)))?;
    let module = if line.contains("Open Kernel Module") {
        KernelModule::Open
    } else {
        KernelModule::Proprietary
    };
    let mut gpus: Vec<String> = Vec::new();
    let folder = root.join("proc/driver/nvidia/gpus");
    let mut cards: Vec<_> =
        fs_err::read_dir(folder).into_iter().flatten().filter_map(Result::ok).collect();
    cards.sort_by_key(fs_err::DirEntry::file_name);
    for card in cards {
        let text = fs_err::read_to_string(card.path().join("information")).unwrap_or_default();
        let model = text.lines().find_map(|line| line.strip_prefix("Model:")).map(str::trim);
        if let Some(model) = model.filter(|m| !m.is_empty() && !gpus.iter().any(|g| g == m)) {
            gpus.push(model.to_owned());
        }
    }
    if gpus.is_empty() { Err(Error::NoGpu(driver)) } else { Ok(Host { driver, module, gpus }) }
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
}
