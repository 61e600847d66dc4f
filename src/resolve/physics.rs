//! The three questions about one GPU, one file and one driver, answered without a word of prose.
//!
//! Nothing here allocates: the full torch x GPU x driver grid is asked in well under a second.
//! Rules: DESIGN of the project, section "truth model"; sources stand in the matrix rows.

use crate::domain::{
    CodeTarget, ComputeCapability, CudaVersion, DriverVersion, KernelModule, Platform,
};
use crate::matrix::{CodeList, Compiler, GpuMatch, Matrix};

/// How a device gets code that it can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// Machine code for exactly this capability.
    Exact(CodeTarget),
    /// Machine code for an older revision of the same generation.
    SameMajor(CodeTarget),
    /// PTX that the driver compiles.
    Ptx(CodeTarget),
    /// Not at all.
    Nothing,
    /// The list was not read, and what is known decides nothing.
    Unknown,
}

impl Served {
    /// Runs without a compilation by the driver.
    pub const fn by_machine_code(self) -> bool {
        matches!(self, Self::Exact(_) | Self::SameMajor(_))
    }
}

/// Which code of a list serves `device`.
///
/// `compiler` is the toolkit the list was built with: where a list was not read, what the toolkit
/// cannot emit is certainly not in it.
pub fn served(
    matrix: &Matrix,
    code: &CodeList,
    compiler: Option<&Compiler>,
    device: ComputeCapability,
) -> Served {
    if let Some(sass) = &code.sass {
        let best = sass
            .iter()
            .copied()
            .filter(|c| matrix.runs(*c, device))
            .max_by_key(|c| (c.capability, c.suffix));
        if let Some(best) = best {
            let exact = best.capability == device || best.capability.major != device.major;
            return if exact { Served::Exact(best) } else { Served::SameMajor(best) };
        }
    } else {
        let possible = compiler.is_none_or(|c| c.targets.iter().any(|t| matrix.runs(*t, device)));
        if possible {
            return Served::Unknown;
        }
    }
    match &code.ptx {
        Some(ptx) => ptx
            .iter()
            .copied()
            .filter(|c| c.ptx_reaches(device))
            .max()
            .map_or(Served::Nothing, Served::Ptx),
        // PTX for the device needs a toolkit that knows the device or something older.
        None if compiler.is_some_and(|c| c.targets.iter().all(|t| t.capability > device)) => {
            Served::Nothing
        }
        None => Served::Unknown,
    }
}

/// How a driver stands to the CUDA of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverFit {
    /// It implements this CUDA or a newer one: everything works, PTX included.
    Native,
    /// It is older, of the same major: machine code runs, PTX does not.
    MinorCompat,
    /// It is too old.
    TooOld,
    /// The table does not say.
    Unknown,
}

/// Whether `driver` starts programs built with `cuda`, and how.
pub fn driver_fit(
    matrix: &Matrix,
    cuda: CudaVersion,
    driver: DriverVersion,
    platform: Platform,
) -> DriverFit {
    let located = matrix.locate(driver);
    if let Some(at) = located {
        if at.branch.cuda >= cuda.series() {
            return DriverFit::Native;
        }
        if at.beyond {
            // Newer than the table, and so is the CUDA asked for.
            return DriverFit::Unknown;
        }
    }
    if located.is_none() && matrix.branches.first().is_some_and(|b| cuda.series() <= b.cuda) {
        // Both are older than the table.
        return DriverFit::Unknown;
    }
    match matrix.minor_compat.iter().find(|m| m.cuda_major == cuda.major) {
        None => DriverFit::Unknown,
        Some(_) => match matrix.minor_floor(cuda, platform) {
            Some(floor) if driver >= floor => DriverFit::MinorCompat,
            _ => DriverFit::TooOld,
        },
    }
}

/// How a driver stands to a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardFit {
    /// It drives the card.
    Drives,
    /// The card came after it. Holds the first driver, where known.
    TooOld(Option<DriverVersion>),
    /// The card was dropped. Holds the last branch.
    TooNew(u16),
    /// Its generation is known to the driver, the model is not in its published list.
    NotListed(DriverVersion),
    /// The table does not say.
    Unknown,
}

/// Whether `driver` drives `gpu` at all.
///
/// Below the first driver whose list names a card the answer is no where the open module's list
/// is the only one (Blackwell and later, Grace), or where the whole branch lacks the card in the
/// packaged lists; for older generations packaged drivers ran cards before the list named them.
pub fn card_fit(matrix: &Matrix, gpu: &GpuMatch, driver: DriverVersion) -> CardFit {
    let Some(generation) = matrix.generation(gpu.capability) else {
        return CardFit::Unknown;
    };
    if gpu.is_jetson() {
        // JetPack numbers its drivers apart: only a branch of the table says something.
        return if matrix.branch(driver.branch).is_some() {
            CardFit::Drives
        } else {
            CardFit::Unknown
        };
    }
    if let Some(last) = generation.last_branch
        && matrix.locate(driver).is_some_and(|at| at.branch.branch > last)
    {
        return CardFit::TooNew(last);
    }
    // Windows numbers do not compare with the lists of Linux drivers.
    let of_linux = matrix.branch(driver.branch).is_some();
    let listed = matrix.first_listed(gpu).filter(|_| of_linux);
    let first = listed.and_then(|l| l.version);
    if let Some(branch) = generation.first_branch
        && driver.branch < branch
    {
        return CardFit::TooOld(
            first.or_else(|| matrix.branch(branch).and_then(|b| b.first_data_center)),
        );
    }
    match (listed, first) {
        (Some(listed), Some(first)) if driver < first => {
            let sure = gpu.module == Some(KernelModule::Open)
                || generation.module == Some(KernelModule::Open);
            if sure {
                CardFit::TooOld(Some(first))
            } else if driver.branch < listed.branch {
                CardFit::NotListed(first)
            } else {
                CardFit::Drives
            }
        }
        _ => CardFit::Drives,
    }
}

/// The lowest driver that starts programs built with `cuda` on `platform`: the floor of
/// minor-version compatibility, or the native driver for `ptx` and for majors without a floor.
pub fn driver_floor(
    matrix: &Matrix,
    cuda: CudaVersion,
    platform: Platform,
    ptx: bool,
) -> Option<DriverVersion> {
    let native = native_floor(matrix, cuda, platform);
    if ptx { native } else { matrix.minor_floor(cuda, platform).or(native) }
}

/// The lowest driver that implements `cuda`: its toolkit's own, or the first of the branch.
pub fn native_floor(
    matrix: &Matrix,
    cuda: CudaVersion,
    platform: Platform,
) -> Option<DriverVersion> {
    matrix.native_driver(cuda, platform).or_else(|| {
        matrix
            .branch_for_cuda(cuda)
            .map(|b| b.first_data_center.unwrap_or(DriverVersion::of_branch(b.branch)))
    })
}

/// The verdict on one GPU, one build and one driver, decisive link first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Runs.
    Runs,
    /// Runs after PTX was compiled.
    RunsByPtx,
    /// The driver and the card do not meet.
    Card(CardFit),
    /// The driver is too old for the CUDA of the build.
    DriverTooOld,
    /// PTX would serve, but not on this driver.
    PtxNeedsNewerDriver,
    /// No code for the card.
    NoCode,
    /// Not known.
    Unknown,
}

/// Card, driver and code in the order in which they fail on a machine.
pub fn verdict(
    matrix: &Matrix,
    code: &CodeList,
    compiler: Option<&Compiler>,
    cuda: CudaVersion,
    platform: Platform,
    gpu: &GpuMatch,
    driver: DriverVersion,
) -> Verdict {
    match card_fit(matrix, gpu, driver) {
        CardFit::Drives => (),
        other => return Verdict::Card(other),
    }
    let fit = driver_fit(matrix, cuda, driver, platform);
    let served = served(matrix, code, compiler, gpu.capability);
    match (fit, served) {
        (DriverFit::TooOld, _) => Verdict::DriverTooOld,
        (_, Served::Nothing) => Verdict::NoCode,
        (DriverFit::Unknown, _) | (_, Served::Unknown) => Verdict::Unknown,
        (DriverFit::MinorCompat, Served::Ptx(_)) => Verdict::PtxNeedsNewerDriver,
        (DriverFit::Native, Served::Ptx(_)) => Verdict::RunsByPtx,
        (_, Served::Exact(_) | Served::SameMajor(_)) => Verdict::Runs,
    }
}
