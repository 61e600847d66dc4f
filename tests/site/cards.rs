//! The cards of the page, and which of them the solver cannot tell apart.

use gpuseal::domain::{ComputeCapability, DriverVersion, GpuKind, KernelModule, Platform, gpu_key};
use gpuseal::matrix::{GpuMatch, Matrix};

/// What the solver reads of a card, beside its names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    pub(crate) kin: Kin,
    /// First driver that lists it.
    pub(crate) first: Option<DriverVersion>,
}

/// Cards that differ by nothing but the day they came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kin {
    pub(crate) capability: ComputeCapability,
    /// cuda-compat is for data center cards; JetPack has drivers of its own.
    kind: u8,
    host: Option<Platform>,
    module: Option<KernelModule>,
}

impl Class {
    /// The class of a card.
    pub(crate) fn of(card: &GpuMatch, matrix: &Matrix) -> Self {
        let kind = match card.kind {
            Some(GpuKind::Datacenter) => 1,
            Some(GpuKind::Jetson) => 2,
            _ => 0,
        };
        let (capability, host, module) = (card.capability, card.host, card.module);
        let first = matrix.first_listed(card).and_then(|row| row.version);
        Self { kin: Kin { capability, kind, host, module }, first }
    }
}

/// Cards under the names that the page offers: every product, then every capability.
pub(crate) fn cards(matrix: &Matrix) -> Vec<(GpuMatch, Vec<String>, String)> {
    let mut list = Vec::new();
    for (row, gpu) in matrix.gpus.iter().enumerate() {
        let own = |name: &str| matrix.gpu(name).ok().filter(|found| found.row == Some(row));
        // The shortest word that means this card and needs no quotes in a shell.
        let short = [&gpu.id].into_iter().chain(&gpu.names).map(|name| gpu_key(name));
        let mut words: Vec<String> =
            gpu.aliases.iter().cloned().chain(short).chain([gpu.id.clone()]).collect();
        let plain = |word: &str| {
            word.contains(char::is_alphabetic)
                && word.contains(|c: char| c.is_ascii_digit())
                && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        };
        words.sort_by_key(|word| (word.contains(' '), !plain(word), word.len()));
        let found = words.into_iter().find_map(|word| own(&word)).expect("a name of its own");
        let mut names = vec![gpu.id.clone()];
        names.extend(gpu.names.iter().skip(1).chain(&gpu.aliases).cloned());
        list.push((found, names, gpu.architecture.clone()));
    }
    for generation in &matrix.generations {
        for capability in &generation.capabilities {
            let found = matrix.gpu(&format!("sm_{}{}", capability.major, capability.minor));
            list.push((found.expect("a capability"), Vec::new(), generation.name.clone()));
        }
    }
    list
}
