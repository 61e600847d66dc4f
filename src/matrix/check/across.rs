//! Rows against each other.

use std::collections::{BTreeMap, BTreeSet};

use super::Matrix;
use crate::domain::{Gather as _, gpu_key};

/// Takes a fault: table, key, place in the row, message.
pub(super) type Report<'a> = dyn FnMut(&'static str, String, &str, String) + 'a;

pub(super) fn torch(matrix: &Matrix, fault: &mut Report<'_>) {
    for release in &matrix.releases {
        let key = release.version.to_string();
        for (package, train) in &release.train {
            for version in train.exact.iter().chain(&train.open) {
                if !matrix.companions.iter().any(|c| c.package == *package && c.version == *version)
                {
                    fault(
                        "torch",
                        key.clone(),
                        "",
                        format!("train: {package} {version} has no row in companions"),
                    );
                }
            }
        }
        for variant in &release.variants {
            let place = format!(" {}", variant.name);
            let Some(cuda) = variant.cuda else { continue };
            if let (Some(cudnn), false) = (variant.cudnn, variant.bundled)
                && !matrix.cudnn.iter().any(|c| c.version == cudnn && c.cuda_major == cuda.major)
            {
                fault(
                    "torch",
                    key.clone(),
                    &place,
                    format!("cudnn {cudnn}: no row for its cu{} build", cuda.major),
                );
            }
            if let Some(toolkit) = variant.toolkit
                && !matrix.toolkits.iter().any(|t| t.version == toolkit)
            {
                fault("torch", key.clone(), &place, format!("toolkit {toolkit} has no row"));
            }
            if let Some(pin) = variant
                .triton
                .as_deref()
                .and_then(|t| t.parse::<pep440_rs::VersionSpecifiers>().ok())
                && !matrix.companions.iter().any(|c| {
                    c.package == "triton"
                        && c.version.parse().is_ok_and(|v: pep440_rs::Version| pin.contains(&v))
                })
            {
                fault(
                    "torch",
                    key.clone(),
                    &place,
                    format!("triton {pin} matches no row in companions"),
                );
            }
            let Some(compiler) = matrix.compilers.iter().find(|c| c.cuda == cuda) else {
                fault("torch", key.clone(), &place, format!("CUDA {cuda} has no row in compilers"));
                continue;
            };
            for build in &variant.builds {
                let code =
                    build.code.sass.iter().chain(&build.code.ptx).chain(&build.linalg).flatten();
                for target in code {
                    let known = compiler.targets.iter().any(|t| t.capability == target.capability);
                    if !known {
                        fault(
                            "torch",
                            key.clone(),
                            &format!("{place} {}", build.platform),
                            format!("{target} is outside of what CUDA {cuda} compiles for"),
                        );
                    }
                }
            }
        }
    }
}

pub(super) fn drivers(matrix: &Matrix, fault: &mut Report<'_>) {
    for toolkit in &matrix.toolkits {
        let key = toolkit.version.to_string();
        if let Some(driver) = toolkit.driver {
            match matrix.branches.iter().find(|b| b.branch == driver.branch) {
                None => fault(
                    "toolkits",
                    key.clone(),
                    "",
                    format!("driver {driver}: branch {} has no row", driver.branch),
                ),
                Some(branch) if branch.cuda < toolkit.version.series() => fault(
                    "toolkits",
                    key.clone(),
                    "",
                    format!(
                        "driver {driver} is said to go with CUDA {}, but branch {} implements only CUDA {}",
                        toolkit.version.series(),
                        branch.branch,
                        branch.cuda
                    ),
                ),
                Some(_) => (),
            }
            if let Some(floor) = toolkit.minor_compat_driver
                && floor > driver
            {
                fault(
                    "toolkits",
                    key.clone(),
                    "",
                    format!("minor_compat_driver {floor} is above its own driver {driver}"),
                );
            }
        }
        // The first toolkits of a major may run on drivers older than the floor of its major, when
        // they were released with such a driver themselves.
        if let (Some(floor), Some(row)) = (
            toolkit.minor_compat_driver,
            matrix.minor_compat.iter().find(|m| m.cuda_major == toolkit.version.major),
        ) && let Some(linux) = row.linux
            && floor != linux
            && !(floor < linux && toolkit.driver.is_some_and(|own| own < linux))
        {
            fault(
                "toolkits",
                key,
                "",
                format!(
                    "minor_compat_driver {floor} contradicts minor_compat {}, which says {linux}",
                    row.cuda_major
                ),
            );
        }
    }
    for cudnn in &matrix.cudnn {
        if let (Some(driver), Some(floor)) = (
            cudnn.driver,
            matrix
                .minor_compat
                .iter()
                .find(|m| m.cuda_major == cudnn.cuda_major)
                .and_then(|m| m.linux),
        ) && driver < floor
        {
            fault(
                "cudnn",
                format!("{} cu{}", cudnn.version, cudnn.cuda_major),
                "",
                format!("driver {driver} is below the floor {floor} of CUDA {}", cudnn.cuda_major),
            );
        }
    }
    for branch in &matrix.branches {
        if let Some(first) = branch.first_data_center
            && first.branch != branch.branch
        {
            fault(
                "branches",
                branch.branch.to_string(),
                "",
                format!("first_data_center {first} is of another branch"),
            );
        }
    }
    if !matrix.branches.is_sorted_by_key(|b| b.cuda) {
        fault("branches", String::new(), "", "a later branch implements an older CUDA".into());
    }
    for package in &matrix.forward_compat {
        for branch in &package.usable_on {
            if !matrix.branches.iter().any(|b| b.branch == *branch) {
                fault(
                    "forward_compat",
                    package.package.clone(),
                    "",
                    format!("branch {branch} has no row"),
                );
            }
        }
    }
}

pub(super) fn gpus(matrix: &Matrix, fault: &mut Report<'_>) {
    let mut names: BTreeMap<String, &str> = BTreeMap::new();
    for gpu in &matrix.gpus {
        let generations =
            matrix.generations.iter().filter(|g| g.capabilities.contains(&gpu.capability)).count();
        if generations != 1 {
            fault(
                "gpus",
                gpu.id.clone(),
                "",
                format!(
                    "capability {} stands in {generations} generations, expected 1",
                    gpu.capability
                ),
            );
        }
        let own: BTreeSet<String> = std::iter::once(&gpu.id)
            .chain(&gpu.names)
            .chain(&gpu.aliases)
            .map(|n| gpu_key(n))
            .gather();
        for name in own {
            if let Some(other) = names.insert(name.clone(), &gpu.id) {
                fault(
                    "gpus",
                    gpu.id.clone(),
                    "",
                    format!("the name `{name}` is also one of `{other}`"),
                );
            }
        }
    }
    for generation in &matrix.generations {
        for branch in generation.first_branch.iter().chain(&generation.last_branch) {
            // Before the oldest branch of the table, numbers are only bounds.
            let oldest = matrix.branches.first().map_or(0, |b| b.branch);
            if *branch >= oldest && !matrix.branches.iter().any(|b| b.branch == *branch) {
                fault(
                    "generations",
                    generation.name.clone(),
                    "",
                    format!("branch {branch} has no row"),
                );
            }
        }
    }
}
