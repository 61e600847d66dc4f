//! Look-ups: from what people write to rows, and from rows to rows.

use super::{
    Branch, Build, CodeRule, Companion, CompanionRule, Compiler, Cudnn, Distro, Evidence,
    FirstListed, Generation, Gpu, ImageRequirement, Level, Matrix, Release, Variant,
};
use crate::domain::{
    CodeTarget, ComputeCapability, CudaVersion, CudnnVersion, DriverVersion, GpuKind, KernelModule,
    Order as _, Platform, Suffix, TorchRelease, WheelVariant, gpu_key, shown,
};

/// A GPU that a user named, found.
#[derive(Debug, Clone, PartialEq)]
pub struct GpuMatch {
    /// As the user wrote it.
    pub given: String,
    /// Name to show: the product's, or the capability's.
    pub name: String,
    /// Its capability.
    pub capability: ComputeCapability,
    /// Its sort, unless only a capability was given.
    pub kind: Option<GpuKind>,
    /// The only machine it is built into.
    pub host: Option<Platform>,
    /// The kernel module it insists on.
    pub module: Option<KernelModule>,
    /// Index into [`Matrix::gpus`].
    pub row: Option<usize>,
    /// Index into [`Matrix::first_listed`], where a list of a driver names it.
    pub listed: Option<usize>,
}

impl GpuMatch {
    /// Whether its driver comes with JetPack and not from the desktop and server branches.
    pub fn is_jetson(&self) -> bool {
        self.kind == Some(GpuKind::Jetson)
    }
}

/// A driver placed in the table of branches.
#[derive(Debug, Clone, Copy)]
pub struct Located<'m> {
    /// Its branch row: the newest that is not above it.
    pub branch: &'m Branch,
    /// It is newer than every branch of the table.
    pub beyond: bool,
}

impl Matrix {
    /// The release with this version.
    pub fn release(&self, version: TorchRelease) -> Option<&Release> {
        self.releases.binary_search_by_key(&version, |r| r.version).ok().map(|i| &self.releases[i])
    }

    /// First and last release of the table.
    ///
    /// # Panics
    /// On a matrix without torch releases, which `check` never builds for real use.
    pub fn release_range(&self) -> Option<(TorchRelease, TorchRelease)> {
        Some((self.releases.first()?.version, self.releases.last()?.version))
    }

    /// A GPU by alias, nvidia-smi name, capability or cloud instance type.
    ///
    /// # Errors
    /// The nearest names, best first, when nothing matches.
    pub fn gpu(&self, given: &str) -> Result<GpuMatch, Vec<String>> {
        let text = given.trim();
        // No card has a name like a novel.
        if text.len() > 100 {
            return Err(Vec::new());
        }
        let lower = text.to_ascii_lowercase();
        let number = ["compute capability ", "compute_", "cc "]
            .iter()
            .find_map(|prefix| lower.strip_prefix(prefix));
        // `compute_90` and `sm_90a` name code, and the device it was made for.
        let number = match number {
            Some(digits) if lower.starts_with("compute_") => format!("sm_{digits}"),
            Some(rest) => rest.to_owned(),
            None => lower.clone(),
        };
        let number = match number.strip_prefix("sm_") {
            Some(rest) => format!("sm_{}", rest.trim_end_matches(['a', 'f'])),
            None => number,
        };
        if let Ok(capability) = number.parse::<ComputeCapability>() {
            if self.generation(capability).is_none() {
                return Err(self.near_capabilities(capability));
            }
            return Ok(GpuMatch {
                given: shown(given),
                name: format!("sm_{}{}", capability.major, capability.minor),
                capability,
                kind: None,
                host: None,
                module: self.generation(capability).and_then(|g| g.module),
                row: None,
                listed: None,
            });
        }
        let key = gpu_key(text);
        let by_name = |gpu: &Gpu| {
            std::iter::once(&gpu.id)
                .chain(&gpu.names)
                .chain(&gpu.aliases)
                .any(|n| gpu_key(n) == key)
        };
        let by_cloud = |gpu: &Gpu| gpu.cloud.iter().any(|p| glob(&p.to_ascii_lowercase(), &lower));
        let by_family = |gpu: &Gpu| {
            !gpu.matches.is_empty()
                && gpu.matches.iter().all(|part| lower.contains(&part.to_ascii_lowercase()))
        };
        let found = (!key.is_empty())
            .then(|| {
                let position = |test: &dyn Fn(&Gpu) -> bool| self.gpus.iter().position(test);
                position(&by_name).or_else(|| position(&by_cloud)).or_else(|| position(&by_family))
            })
            .flatten();
        let Some(row) = found else {
            // Editions, memory sizes and shares of a card have the capability of the card.
            if let Some(plain) = plain_gpu(&lower) {
                return self.gpu(&plain).map(|gpu| GpuMatch { given: shown(given), ..gpu });
            }
            return Err(self.near_gpus(&key));
        };
        let gpu = &self.gpus[row];
        Ok(GpuMatch {
            given: shown(given),
            name: gpu.names.first().unwrap_or(&gpu.id).clone(),
            capability: gpu.capability,
            kind: Some(gpu.kind),
            host: gpu.host,
            module: gpu.module.or_else(|| self.generation(gpu.capability).and_then(|g| g.module)),
            row: Some(row),
            listed: self.listed(gpu),
        })
    }

    /// The earliest row of the drivers' lists with any of a card's nvidia-smi names.
    fn listed(&self, gpu: &Gpu) -> Option<usize> {
        let named = |row: &FirstListed| gpu.names.iter().any(|n| n.eq_ignore_ascii_case(&row.name));
        let rows = self.first_listed.iter().enumerate().filter(|(_, row)| named(row));
        rows.min_by_key(|(_, row)| row.version.or(row.at_most)).map(|(index, _)| index)
    }

    fn near_gpus(&self, key: &str) -> Vec<String> {
        // One name a card: the one that comes nearest.
        let nearest = |gpu: &'_ Gpu| {
            let names = gpu.aliases.iter().chain(std::iter::once(&gpu.id));
            names
                .map(|name| (strsim::jaro_winkler(key, &gpu_key(name)), name.clone()))
                .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.len().cmp(&a.1.len())))
        };
        let mut near: Vec<_> =
            self.gpus.iter().filter_map(nearest).filter(|(score, _)| *score > 0.8).collect();
        near.order_by(|a, b| {
            b.0.total_cmp(&a.0).then(a.1.len().cmp(&b.1.len())).then(a.1.cmp(&b.1))
        });
        near.into_iter().take(3).map(|(_, name)| name).collect()
    }

    fn near_capabilities(&self, wanted: ComputeCapability) -> Vec<String> {
        let mut all: Vec<_> =
            self.generations.iter().flat_map(|g| &g.capabilities).copied().collect();
        all.order_by_key(|c| {
            (i32::from(c.major) * 10 + i32::from(c.minor))
                .abs_diff(i32::from(wanted.major) * 10 + i32::from(wanted.minor))
        });
        all.into_iter().take(3).map(|c| c.to_string()).collect()
    }

    /// What holds for all cards of this capability.
    pub fn generation(&self, capability: ComputeCapability) -> Option<&Generation> {
        self.generations.iter().find(|g| g.capabilities.contains(&capability))
    }

    /// When a card entered the drivers' lists, by any of its nvidia-smi names: the earliest row.
    pub fn first_listed(&self, gpu: &GpuMatch) -> Option<&FirstListed> {
        Some(&self.first_listed[gpu.listed?])
    }

    /// The branch a driver belongs to. Windows and WSL numbers fall between Linux branches and
    /// belong to the one below. `None` below the oldest row.
    pub fn locate(&self, driver: DriverVersion) -> Option<Located<'_>> {
        let index = self.branches.partition_point(|b| b.branch <= driver.branch).checked_sub(1)?;
        let branch = &self.branches[index];
        let last = index + 1 == self.branches.len();
        // A Windows number is at most a few above its branch; branches lie five apart.
        Some(Located { branch, beyond: last && driver.branch >= branch.branch + 5 })
    }

    /// The row of exactly this branch.
    pub fn branch(&self, branch: u16) -> Option<&Branch> {
        self.branches.iter().find(|b| b.branch == branch)
    }

    /// The oldest branch that implements this CUDA series.
    pub fn branch_for_cuda(&self, cuda: CudaVersion) -> Option<&Branch> {
        self.branches.iter().find(|b| b.cuda >= cuda.series())
    }

    /// The Linux or Windows driver that the first toolkit of a CUDA series was released with.
    pub fn native_driver(&self, cuda: CudaVersion, platform: Platform) -> Option<DriverVersion> {
        self.toolkits
            .iter()
            .filter(|t| t.version.series() == cuda.series())
            .filter_map(|t| {
                if platform == Platform::WindowsAmd64 { t.driver_windows } else { t.driver }
            })
            .min()
    }

    /// The floor of minor-version compatibility.
    pub fn minor_floor(&self, cuda: CudaVersion, platform: Platform) -> Option<DriverVersion> {
        let row = self.minor_compat.iter().find(|m| m.cuda_major == cuda.major)?;
        if platform == Platform::WindowsAmd64 { row.windows.or(row.linux) } else { row.linux }
    }

    /// nvcc and ptxas of a CUDA series.
    pub fn compiler(&self, cuda: CudaVersion) -> Option<&Compiler> {
        self.compilers.iter().find(|c| c.cuda == cuda.series())
    }

    /// A cuDNN wheel.
    pub fn cudnn(&self, version: CudnnVersion, cuda_major: u16) -> Option<&Cudnn> {
        self.cudnn.iter().find(|c| c.version == version && c.cuda_major == cuda_major)
    }

    /// A distribution by any of its names.
    pub fn distro(&self, name: &str) -> Option<&Distro> {
        let plain = |text: &str| text.to_ascii_lowercase().replace([' ', '-', '_', ':'], "");
        let wanted = plain(name);
        self.distros
            .iter()
            .find(|d| std::iter::once(&d.name).chain(&d.aliases).any(|n| plain(n) == wanted))
    }

    /// What an `nvidia/cuda` image of this version asks of the driver.
    pub fn image_requirement(&self, cuda: CudaVersion) -> Option<&ImageRequirement> {
        let exact = self.image_requirements.iter().find(|r| r.image == cuda);
        exact.or_else(|| self.image_requirements.iter().find(|r| r.image == cuda.series())).or_else(
            || {
                self.image_requirements
                    .iter()
                    .rev()
                    .find(|r| r.image.series() == cuda.series() && cuda.patch.is_none())
            },
        )
    }

    /// Versions of a companion, oldest first.
    pub fn companions(&self, package: &str) -> &[Companion] {
        let from = self.companions.partition_point(|c| c.package.as_str() < package);
        let rest = &self.companions[from..];
        &rest[..rest.partition_point(|c| c.package == package)]
    }

    /// Rules that hold for a version of a companion; without one, those that hold for every version.
    pub fn companion_rules(
        &self,
        package: &str,
        version: Option<&pep440_rs::Version>,
    ) -> Vec<&CompanionRule> {
        let public = version.map(|v| v.clone().without_local());
        let holds = |rule: &CompanionRule| {
            rule.versions.is_empty()
                || public.as_ref().is_some_and(|v| {
                    rule.versions
                        .parse::<pep440_rs::VersionSpecifiers>()
                        .is_ok_and(|s| s.contains(v))
                })
        };
        self.companion_rules.iter().filter(|rule| rule.package == package && holds(rule)).collect()
    }

    /// Whether a device runs machine code of this target.
    pub fn runs(&self, code: CodeTarget, device: ComputeCapability) -> bool {
        match code.suffix {
            Suffix::ArchSpecific => code.capability == device,
            Suffix::Family => code.same_major_from(device),
            Suffix::Plain => match self.code_rule(code) {
                Some(rule) => rule.serves.contains(&device),
                None => code.same_major_from(device),
            },
        }
    }

    fn code_rule(&self, code: CodeTarget) -> Option<&CodeRule> {
        self.code_rules.iter().find(|r| r.code == code)
    }

    /// The best-founded level of a row's evidence.
    pub fn level(&self, evidence: &[Evidence]) -> Level {
        evidence
            .iter()
            .map(|e| self.sources[usize::from(e.source)].level)
            .min()
            .unwrap_or(Level::Unverified)
    }

    /// One piece of evidence, for people: `artifact torch.wheel: torch-2.8.0-...whl`.
    pub fn cite(&self, evidence: &Evidence) -> String {
        let source = &self.sources[usize::from(evidence.source)];
        let mut text = format!("{} {}", source.level.word(), source.key);
        for part in [&evidence.what, &evidence.file, &evidence.note].into_iter().flatten() {
            text.push_str(": ");
            text.push_str(part);
        }
        text
    }

    /// The best evidence of a row, in short: its key, and the file it was read from.
    pub fn cite_best(&self, evidence: &[Evidence]) -> String {
        let best = evidence.iter().min_by_key(|e| self.sources[usize::from(e.source)].level);
        let overlay = evidence
            .iter()
            .find(|e| self.sources[usize::from(e.source)].key.starts_with("overlay "));
        overlay.or(best).map_or_else(
            || "unverified".into(),
            |e| {
                let source = &self.sources[usize::from(e.source)];
                match &e.file {
                    Some(file) => format!("{}: {file}", source.level.word()),
                    None => format!("{}: {}", source.level.word(), source.key),
                }
            },
        )
    }

    /// Id with the overlays laid over it, for people.
    pub fn title(&self) -> String {
        let mut title = format!("matrix {}", self.id);
        for name in &self.overlays {
            title.push_str(" + overlay ");
            title.push_str(name);
        }
        title
    }
}

impl Release {
    /// The build with this name.
    pub fn variant(&self, name: WheelVariant) -> Option<&Variant> {
        self.variants.iter().find(|v| v.name == name)
    }

    /// Whether the file of a variant on a platform has the new C++ string ABI.
    pub fn cxx11_abi(&self, variant: &Variant, platform: Platform) -> Option<bool> {
        variant.cxx11_abi.or_else(|| self.cxx11_abi.get(&platform).copied())
    }
}

impl Variant {
    /// Its build for a platform.
    pub fn build(&self, platform: Platform) -> Option<&Build> {
        self.builds.iter().find(|b| b.platform == platform)
    }
}

/// A card's name without one of the words that do not change its capability; `None` when it has none.
fn plain_gpu(lower: &str) -> Option<String> {
    const AFTER: &[&str] = &[
        " with max-q design",
        " max-q",
        " mobile",
        " laptop gpu",
        " generation laptop gpu",
        " laptop",
        " lite hash rate",
        " super edition",
        " gpu",
    ];
    const BEFORE: &[&str] =
        &["grid ", "ml.", "1x ", "2x ", "4x ", "8x ", "1 x ", "2 x ", "4 x ", "8 x "];
    let lower = lower.trim();
    let cut = AFTER
        .iter()
        .find_map(|word| lower.strip_suffix(word))
        .or_else(|| BEFORE.iter().find_map(|word| lower.strip_prefix(word)));
    if let Some(rest) = cut {
        return Some(rest.trim().to_owned());
    }
    // `(24gb)`, ` 24gb`, ` 24 gb`, `-80g`; a share of a card: `a10-24q`.
    if let Some((name, _)) = lower.rsplit_once(" (").filter(|(_, rest)| rest.ends_with(')')) {
        return Some(name.to_owned());
    }
    let size = lower.strip_suffix("gb").or_else(|| lower.strip_suffix('g')).map(str::trim_end);
    let share = lower.strip_suffix(['q', 'c', 'a', 'b']).filter(|t| t.contains('-'));
    for text in [size, share].into_iter().flatten() {
        let name = text.trim_end_matches(|c: char| c.is_ascii_digit());
        if name.len() < text.len() && name.ends_with([' ', '-']) {
            return Some(name.trim_end_matches([' ', '-']).to_owned());
        }
    }
    None
}

/// Shell-like match where `*` stands for any rest; both sides lower case.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        last = Some(part);
        if part.is_empty() {
            continue;
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    match last {
        None => rest.is_empty(),
        Some(part) => part.is_empty() || rest.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn cloud_patterns() {
        assert!(glob("g5.*", "g5.xlarge"));
        assert!(!glob("g5.*", "g5g.xlarge"));
        assert!(glob("p4d.24xlarge", "p4d.24xlarge"));
        assert!(!glob("p4d.24xlarge", "p4de.24xlarge"));
        assert!(glob("standard_nc*as_t4_v3", "standard_nc64as_t4_v3"));
        assert!(!glob("standard_nc*as_t4_v3", "standard_nc64ads_a100_v4"));
        assert!(glob("a2-highgpu-*", "a2-highgpu-1g"));
    }
}
