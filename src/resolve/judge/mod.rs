//! Judges one exact combination: every finding that applies, the decisive one first.
//!
//! Chain: the file exists and is reachable -> it has GPU code -> Python, glibc -> the card is
//! driven -> the driver starts this CUDA -> the card finds code -> libraries, companions, compiler.

mod code;
mod file;
mod machine;

use serde::Serialize;

use super::case::{Case, ImageKind};
use super::physics::Served;
use super::{companion, environment};
use crate::domain::{
    Code, CodeTarget, CudaVersion, DriverVersion, Finding, Order as _, Platform, Severity,
    WheelVariant,
};
use crate::matrix::{Build, CodeList, GpuMatch, Matrix, Release, Variant};

/// What was found.
#[derive(Debug, Clone)]
pub struct Judgement<'m> {
    /// The decisive finding's code, or `ok`, `ok-via-ptx-jit`, `unknown`.
    pub verdict: Code,
    /// All findings, decisive first.
    pub findings: Vec<Finding>,
    /// Each card.
    pub gpus: Vec<JudgedGpu>,
    /// The driver bounds that follow from file and cards.
    pub driver: DriverBounds,
    /// The file that was judged.
    pub wheel: Option<Wheel<'m>>,
    /// What was not given and so not judged.
    pub not_judged: Vec<String>,
}

/// A card and how the file serves it.
#[derive(Debug, Clone)]
pub struct JudgedGpu {
    /// The card.
    pub gpu: GpuMatch,
    /// How it is served, when a file was named.
    pub served: Option<Served>,
}

/// Which drivers run a file on some cards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriverBounds {
    /// Lowest that runs it.
    pub min: Option<DriverVersion>,
    /// Lowest that implements its CUDA, so that PTX works too.
    pub native: Option<DriverVersion>,
    /// Last branch that drives all cards; `None`: no end is known.
    pub max_branch: Option<u16>,
    /// How the driver at hand stands to it.
    pub mode: Option<DriverMode>,
}

/// How a driver runs a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriverMode {
    /// It implements the build's CUDA.
    Native,
    /// By minor-version compatibility.
    MinorCompat,
    /// By a cuda-compat package.
    ForwardCompat,
}

impl DriverMode {
    /// The word in the JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::MinorCompat => "minor-compat",
            Self::ForwardCompat => "forward-compat",
        }
    }
}

/// A torch file, found in the matrix.
#[derive(Debug, Clone, Copy)]
pub struct Wheel<'m> {
    /// Its release.
    pub release: &'m Release,
    /// Its build.
    pub variant: &'m Variant,
    /// Its platform; `None` for builds without GPU code.
    pub build: Option<&'m Build>,
    /// PyPI serves it.
    pub on_pypi: bool,
}

impl<'m> Wheel<'m> {
    /// `2.6.0+cu126`
    pub fn name(&self) -> String {
        format!("{}+{}", self.release.version, self.variant.name)
    }

    /// CUDA of the build.
    pub fn cuda(&self) -> Option<CudaVersion> {
        self.variant.cuda
    }

    /// The wheel of a variant on a platform, when it was published.
    pub fn find(release: &'m Release, name: WheelVariant, platform: Platform) -> Option<Self> {
        let variant = release.variant(name)?;
        let on_pypi = release.pypi.get(&platform) == Some(&name);
        let build = variant.build(platform);
        (build.is_some() || variant.cuda.is_none()).then_some(Self {
            release,
            variant,
            build,
            on_pypi,
        })
    }
}

/// Judges `case` by `matrix`.
pub fn judge<'m>(case: &Case, matrix: &'m Matrix) -> Judgement<'m> {
    let mut court = Court { case, matrix, platform: case.platform(), findings: Vec::new() };
    if !court.platform.has_cuda() {
        let platform = court.platform;
        court.add(
            Finding::new(
                Code::NoCudaPlatform,
                Severity::Error,
                format!("there is no CUDA build of torch for {platform}"),
            )
            .fact(
                "CUDA builds exist for linux/amd64, linux/arm64 and windows/amd64",
                "document: PyTorch wheel index",
            )
            .help("build and run on one of these platforms; a Mac runs torch on its CPU or by MPS"),
        );
    }
    let wheel =
        if court.platform.has_cuda() || case.torch.is_some() { court.wheel() } else { None };
    court.hosts();
    court.python(wheel);
    court.libc(wheel);
    let mut driver = DriverBounds::default();
    let gpus = court.cards(wheel, &mut driver);
    court.driver(wheel, &gpus, &mut driver);
    if let Some(wheel) = wheel {
        court.code(wheel, &gpus, driver.mode);
        court.cudnn(wheel);
    }
    court.compiler(wheel);
    let companions = companion::judge(case, matrix, wheel, court.platform, driver.mode);
    court.findings.extend(companions);
    let surroundings = environment::judge(case, matrix, wheel);
    court.findings.extend(surroundings);
    court.finish(wheel, gpus, driver)
}

struct Court<'c, 'm> {
    case: &'c Case,
    matrix: &'m Matrix,
    platform: Platform,
    findings: Vec<Finding>,
}

impl<'m> Court<'_, 'm> {
    fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    fn unknown(&mut self, message: impl Into<String>) -> &mut Finding {
        self.findings.push(Finding::new(Code::Unknown, Severity::Unknown, message));
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    fn finish(
        mut self,
        wheel: Option<Wheel<'m>>,
        gpus: Vec<JudgedGpu>,
        mut driver: DriverBounds,
    ) -> Judgement<'m> {
        driver.native = driver.native.max(driver.min);
        let refused = |f: &Finding| f.code == Code::DriverTooOld && f.severity == Severity::Error;
        if self.findings.iter().any(refused) {
            // How it would run otherwise says nothing any more.
            driver.mode = None;
            self.findings.retain(|f| !(f.code == Code::Ok && f.message.starts_with("driver ")));
        }
        self.findings.order_by_key(|f| (f.severity, f.code));
        self.findings.dedup();
        let decisive =
            self.findings.first().filter(|f| f.severity <= Severity::Unknown).map(|f| f.code);
        let given = self.case;
        let known_image =
            given.base_image.as_ref().is_some_and(|image| image.kind != ImageKind::Other);
        let nothing = wheel.is_none()
            && given.torch.is_none()
            && (given.driver.is_none() || given.gpus.is_empty())
            && !given.with.iter().any(|p| companion::is_known(self.matrix, &p.name))
            && !known_image
            && !given.env.iter().any(|(name, _)| environment::has_rule(name))
            && given.module.is_none()
            && given.nvcc.is_none();
        let verdict = decisive.unwrap_or_else(|| {
            if nothing {
                Code::Unknown
            } else if gpus.iter().any(|g| matches!(g.served, Some(Served::Ptx(_)))) {
                Code::OkViaPtxJit
            } else {
                Code::Ok
            }
        });
        let case = self.case;
        let absent = [
            (case.torch.is_none() && wheel.is_none(), "torch"),
            (case.gpus.is_empty(), "gpu"),
            (case.driver.is_none(), "driver"),
            (case.python.is_none(), "python"),
            (environment::libc(case, self.matrix).is_none() && self.platform.is_linux(), "os"),
            (case.nvcc.is_none(), "nvcc"),
            (case.base_image.is_none(), "base-image"),
            (case.module.is_none(), "kernel-module"),
        ];
        let mut not_judged: Vec<String> =
            absent.into_iter().filter(|(absent, _)| *absent).map(|(_, name)| name.into()).collect();
        let known = |p: &&crate::domain::Package| !companion::is_known(self.matrix, &p.name);
        if let Some(image) = case.base_image.as_ref().filter(|i| i.kind == ImageKind::Other) {
            not_judged.push(format!("what is inside {}", image.given));
        }
        not_judged.extend(case.with.iter().filter(known).map(|p| format!("with {}", p.name)));
        Judgement { verdict, findings: self.findings, gpus, driver, wheel, not_judged }
    }
}

/// Where the row of a release is shown.
pub fn row_of(release: &Release) -> String {
    format!("matrix row torch/{}", release.version)
}

/// `sm_80 sm_90, PTX compute_90`, or what is missing.
pub fn code_text(code: &CodeList) -> String {
    let sass =
        code.sass.as_deref().map_or_else(|| "machine code not read".to_owned(), targets_text);
    let ptx = match code.ptx.as_deref() {
        None => "PTX not read".to_owned(),
        Some([]) => "no PTX".to_owned(),
        Some(list) => targets_text(list),
    };
    format!("{sass}; {ptx}")
}

fn targets_text(list: &[CodeTarget]) -> String {
    if list.is_empty() {
        return "none".into();
    }
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
