//! What surrounds the file: base image, environment variables, cuda-compat.

use super::case::{BaseImage, Case, ImageKind, Libc};
use super::judge::Wheel;
use crate::domain::{Code, CudaVersion, DriverVersion, Finding, GpuKind, Severity};
use crate::matrix::{GpuMatch, ImageRequirement, Matrix};

/// The C library that decides: as given, or that of the base image.
pub fn libc(case: &Case, matrix: &Matrix) -> Option<Libc> {
    if let Some(libc) = &case.libc {
        return Some(libc.clone());
    }
    let image = case.base_image.as_ref()?;
    let distro = match &image.kind {
        ImageKind::Cuda { distro, .. } | ImageKind::Plain { distro, .. } => distro.as_deref()?,
        ImageKind::Pytorch { .. } | ImageKind::Other => return None,
    };
    let row = matrix.distro(distro)?;
    Some(Libc {
        given: image.given.clone(),
        glibc: row.glibc,
        source: matrix.cite_best(&row.evidence),
    })
}

/// Whether an environment variable is judged.
pub fn has_rule(name: &str) -> bool {
    const JUDGED: &[&str] = &[
        "CUDA_VISIBLE_DEVICES",
        "NVIDIA_VISIBLE_DEVICES",
        "NVIDIA_DRIVER_CAPABILITIES",
        "NVIDIA_REQUIRE_CUDA",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
    ];
    JUDGED.contains(&name)
}

/// Findings about base image and environment.
pub fn judge(case: &Case, matrix: &Matrix, wheel: Option<Wheel<'_>>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(image) = &case.base_image {
        base_image(case, matrix, wheel, image, &mut findings);
    }
    for (name, value) in &case.env {
        variable(case, matrix, wheel, name, value, &mut findings);
    }
    findings
}

fn base_image(
    case: &Case,
    matrix: &Matrix,
    wheel: Option<Wheel<'_>>,
    image: &BaseImage,
    findings: &mut Vec<Finding>,
) {
    let bare = image.given.split([':', '@']).next().unwrap_or_default();
    let unread = image.kind == ImageKind::Other;
    if unread
        && (case.torch.is_none()
            || bare.ends_with("nvidia/cuda")
            || bare.ends_with("pytorch/pytorch"))
    {
        findings.push(
            Finding::new(Code::Unknown, Severity::Unknown, format!("what is inside {} is not known", image.given))
                .help("state torch with --torch, and nvidia/cuda images by their whole tag, as in 12.8.1-base-ubuntu22.04"),
        );
    }
    let asks = match &image.kind {
        ImageKind::Cuda { cuda, .. } => Some(*cuda),
        // The devel flavours of pytorch/pytorch stand on nvidia/cuda and inherit its condition.
        ImageKind::Pytorch { devel, .. } => *devel,
        _ => None,
    };
    let disabled = matches!(case.var("NVIDIA_DISABLE_REQUIRE"), Some("1" | "true"));
    let own = case.var("NVIDIA_REQUIRE_CUDA").is_some();
    if let (Some(cuda), false, false) = (asks, disabled, own) {
        match matrix.image_requirement(cuda) {
            Some(row) => requirement(case, matrix, image, row, findings),
            None => plain_requirement(case, matrix, &image.given, cuda, findings),
        }
    }
    if let ImageKind::Cuda { cuda, cudnn: true, distro } = &image.kind
        && let Some(wheel) = wheel
    {
        second_cudnn(matrix, wheel, image, *cuda, distro.as_deref(), findings);
    }
    if let (ImageKind::Cuda { cuda, .. }, Some(wheel)) = (&image.kind, wheel)
        && !wheel.variant.bundled
        && wheel.cuda().is_some()
        && !image.given.contains("-base-")
    {
        findings.push(
            Finding::new(Code::LibraryShadowed, Severity::Note, format!(
                "the image brings CUDA {cuda} and the wheel its own CUDA {}: the same libraries twice, some gigabytes", wheel.cuda().map_or(String::new(), |c| c.to_string())
            ))
            .help("a slim Python image suffices: the wheels bring all of CUDA that torch needs"),
        );
    }
}

/// `NVIDIA_REQUIRE_CUDA`: the driver implements the CUDA, or brand and branch stand in an exception.
fn requirement(
    case: &Case,
    matrix: &Matrix,
    image: &BaseImage,
    row: &ImageRequirement,
    findings: &mut Vec<Finding>,
) {
    let Some(driver) = case.driver.as_ref().and_then(|d| d.oldest) else {
        return;
    };
    let implements = matrix.locate(driver).map(|at| at.branch.cuda);
    if implements.is_some_and(|cuda| cuda >= row.cuda) {
        return;
    }
    let has = implements.map_or_else(|| "an older CUDA".into(), |c| format!("CUDA {c}"));
    let source = matrix.cite_best(&row.evidence);
    let condition = format!("NVIDIA_REQUIRE_CUDA of the image: cuda>={}", row.cuda);
    let excepted = row.branches.as_ref().map(|b| b.contains(&driver.branch));
    let refuse = |gpu: Option<&GpuMatch>, why: &str| {
        let who = gpu.map_or_else(String::new, |g| format!(" ({})", g.name));
        let mut finding = Finding::new(
            Code::ContainerRequirement,
            Severity::Error,
            format!(
                "{} asks for a driver with CUDA {}; driver {driver} has {has}{who}",
                image.given, row.cuda
            ),
        )
        .fact(condition.clone(), source.clone())
        .fact(why.to_owned(), source.clone());
        if let Some(need) = matrix.native_driver(row.cuda, case.platform()) {
            finding = finding.help(format!("raise the driver to {need} or newer"));
        }
        if let Some(cuda) = implements {
            finding = finding.help(format!("take an image of CUDA {cuda} or older; the wheel brings its own CUDA, so a slim Python image serves too"));
        }
        finding.help(
            "NVIDIA_DISABLE_REQUIRE=true starts it all the same, when the wheel's own floor is met",
        )
    };
    match excepted {
        Some(false) if !row.partial => findings.push(refuse(None, &format!("driver branch {} is in no exception of the image", driver.branch))),
        Some(true) => {
            for gpu in &case.gpus {
                match brand_listed(gpu, row) {
                    Some(true) => (),
                    Some(false) => findings.push(refuse(Some(gpu), "its exceptions for older branches leave out this brand")),
                    None => findings.push(unknown_brand(image, driver, &condition, &source)),
                }
            }
            if case.gpus.is_empty() {
                findings.push(unknown_brand(image, driver, &condition, &source));
            }
        }
        _ => findings.push(
            Finding::new(Code::Unknown, Severity::Unknown, format!("whether {} starts on driver {driver} is not known: its exceptions were not read whole", image.given))
                .fact(condition, source),
        ),
    }
}

fn unknown_brand(
    image: &BaseImage,
    driver: DriverVersion,
    condition: &str,
    source: &str,
) -> Finding {
    Finding::new(
        Code::Unknown,
        Severity::Unknown,
        format!(
            "{} starts on driver {driver} for some brands of card only, and the brand is not said",
            image.given
        ),
    )
    .fact(condition.to_owned(), source.to_owned())
    .help("name the card with --gpu")
}

fn brand_listed(gpu: &GpuMatch, row: &ImageRequirement) -> Option<bool> {
    let words = brand_words(gpu)?;
    Some(words.iter().any(|b| row.brands.iter().any(|r| r == b)))
}

/// Words of the container toolkit; which RTX and Quadro word a workstation card bears varies.
fn brand_words(gpu: &GpuMatch) -> Option<&'static [&'static str]> {
    Some(match gpu.kind? {
        GpuKind::Datacenter => &["tesla"],
        GpuKind::Geforce | GpuKind::Family => &["geforce", "geforcertx"],
        GpuKind::Titan => &["titan", "titanrtx"],
        GpuKind::Workstation => &["quadro", "quadrortx", "nvidiartx"],
        GpuKind::Jetson | GpuKind::Integrated => return None,
    })
}

/// A condition without exceptions: an image that has no row, or the user's own variable.
fn plain_requirement(
    case: &Case,
    matrix: &Matrix,
    what: &str,
    cuda: CudaVersion,
    findings: &mut Vec<Finding>,
) {
    let Some(driver) = case.driver.as_ref().and_then(|d| d.oldest) else {
        return;
    };
    match matrix.locate(driver).map(|at| at.branch.cuda) {
        Some(has) if has >= cuda.series() => (),
        has => findings.push(
            Finding::new(Code::Unknown, Severity::Unknown, format!(
                "whether {what} starts on driver {driver} is not known: it asks for CUDA {}, the driver has {}, and its exceptions are not known",
                cuda.series(), has.map_or_else(|| "an older one".into(), |c| c.to_string())
            )),
        ),
    }
}

fn second_cudnn(
    matrix: &Matrix,
    wheel: Wheel<'_>,
    image: &BaseImage,
    cuda: CudaVersion,
    distro: Option<&str>,
    findings: &mut Vec<Finding>,
) {
    let Some(own) = wheel.variant.cudnn else {
        return;
    };
    let rows = matrix
        .cuda_images
        .iter()
        .filter(|r| r.cuda == cuda && distro.is_none_or(|d| r.distros.iter().any(|x| x == d)));
    let theirs = rows
        .flat_map(|r| &r.cudnn)
        .find_map(|text| text.parse::<crate::domain::CudnnVersion>().ok());
    let Some(theirs) = theirs else { return };
    let name = wheel.name();
    let message = format!("{} brings cuDNN {theirs}, torch {name} its own {own}", image.given);
    // cuDNN before 8.9 loads its parts by bare name: an older copy in the system's path gets in
    // between. From 8.9 on the wheel's library looks in its own folder first (read in 8.9.2.26).
    if own.major() == theirs.major() && own.0[..2] < [8, 9][..] && theirs < own {
        findings.push(
            Finding::new(Code::CudnnMismatch, Severity::Error, message)
                .fact(
                    "cuDNN 8 loads its sublibraries by bare name, so an older system copy answers",
                    "document: pytorch/pytorch#80637, replicate/cog#815",
                )
                .help("take an image without cuDNN: the wheel brings it"),
        );
    } else if own.to_string() == "9.20.0.48" && theirs.0[..2] >= [9, 23][..] {
        findings.push(
            Finding::new(Code::CudnnMismatch, Severity::Error, message)
                .fact(
                    "cuDNN 9.20.0.48 looks for a part by bare name and finds that of 9.23 or newer",
                    "document: pytorch/pytorch#188892",
                )
                .help("take an image without cuDNN: the wheel brings it"),
        );
    } else {
        findings.push(
            Finding::new(
                Code::CudnnMismatch,
                Severity::Warning,
                format!("{message}: two copies, of which the wheel's should win"),
            )
            .help("take an image without cuDNN: the wheel brings it"),
        );
    }
}

/// Whether forward compatibility helps an old driver.
pub enum Forward {
    /// Nobody asked for it.
    NotAsked,
    /// By this package.
    Works(String),
    /// It was asked for and does not help.
    Refused(Box<Finding>),
}

/// cuda-compat for `cuda` on a driver that is too old by itself.
pub fn forward_compat(
    case: &Case,
    matrix: &Matrix,
    driver: DriverVersion,
    cuda: CudaVersion,
) -> Forward {
    let folder = compat_in_path(case);
    if !case.allow_forward_compat && folder.is_none() {
        return Forward::NotAsked;
    }
    let refuse = |why: String| {
        Forward::Refused(Box::new(
            Finding::new(Code::ForwardCompatUnsupported, Severity::Error, why)
                .fact(
                    "forward compatibility covers data center cards on the listed driver branches",
                    "document: CUDA Compatibility, r615 edition",
                )
                .help("raise the driver, or take a build of an older CUDA"),
        ))
    };
    for gpu in &case.gpus {
        match gpu.kind {
            Some(GpuKind::Datacenter) => (),
            Some(GpuKind::Geforce | GpuKind::Titan | GpuKind::Family) => {
                return refuse(format!(
                    "{} is no data center card: cuda-compat ends with error 804",
                    gpu.name
                ));
            }
            // A few NGC-ready RTX cards are entitled; which ones is not in the table.
            _ => {
                return refuse(format!("whether cuda-compat covers {} is not known", gpu.name));
            }
        }
    }
    if case.gpus.is_empty() {
        return refuse("forward compatibility depends on the card, and none was named".into());
    }
    let packages = matrix
        .forward_compat
        .iter()
        .filter(|p| p.cuda >= cuda.series() && p.cuda.major == cuda.major);
    // A folder that names its CUDA holds that package and no other.
    let there = folder.and_then(cuda_of_path).map(CudaVersion::series);
    let fits = |p: &&crate::matrix::ForwardCompat| {
        p.usable_on.contains(&driver.branch) && there.is_none_or(|cuda| p.cuda == cuda)
    };
    match packages.into_iter().find(fits) {
        Some(package) => Forward::Works(package.package.clone()),
        None => refuse(format!(
            "no cuda-compat package for CUDA {cuda} stands on driver branch {}",
            driver.branch
        )),
    }
}

/// The cuda-compat folder in the loader path.
fn compat_in_path(case: &Case) -> Option<&str> {
    case.var("LD_LIBRARY_PATH")?.split(':').find(|p| p.trim_end_matches('/').ends_with("/compat"))
}

/// `12.3` in `/usr/local/cuda-12.3/lib64`.
fn cuda_of_path(path: &str) -> Option<CudaVersion> {
    path.split('/').find_map(|part| part.strip_prefix("cuda-")?.parse().ok())
}

/// The toolkit in CUDA_HOME or CUDA_PATH, when its path says the version.
pub fn cuda_home(case: &Case) -> Option<CudaVersion> {
    case.env
        .iter()
        .filter(|(k, _)| k == "CUDA_HOME" || k == "CUDA_PATH")
        .find_map(|(_, path)| cuda_of_path(path))
}

fn variable(
    case: &Case,
    matrix: &Matrix,
    wheel: Option<Wheel<'_>>,
    name: &str,
    value: &str,
    findings: &mut Vec<Finding>,
) {
    let error = |message: String| Finding::new(Code::EnvPath, Severity::Error, message);
    let shown = crate::domain::shown(value);
    let value_trimmed = value.trim();
    match name {
        "CUDA_VISIBLE_DEVICES" => {
            let first = value_trimmed
                .trim_matches(['"', '\''])
                .split(',')
                .next()
                .unwrap_or_default()
                .trim();
            let index = !first.is_empty() && first.bytes().all(|b| b.is_ascii_digit());
            if !index && !first.starts_with("GPU-") && !first.starts_with("MIG-") {
                findings.push(
                    error(format!("CUDA_VISIBLE_DEVICES=`{shown}` hides every GPU"))
                        .fact(
                            "devices from the first invalid entry on are hidden",
                            "document: CUDA Programming Guide, environment variables",
                        )
                        .help("unset CUDA_VISIBLE_DEVICES, or list devices from 0 on"),
                );
            }
        }
        "NVIDIA_VISIBLE_DEVICES" if matches!(value_trimmed, "" | "void" | "none") => findings.push(
            error(format!("NVIDIA_VISIBLE_DEVICES=`{shown}` gives the container no GPU"))
                .fact(
                    "`none` mounts the driver without devices; `void` and empty do nothing at all",
                    "document: NVIDIA container toolkit",
                )
                .help("set NVIDIA_VISIBLE_DEVICES=all"),
        ),
        "NVIDIA_DRIVER_CAPABILITIES"
            if !value_trimmed.is_empty()
                && !value_trimmed.split(',').any(|c| matches!(c.trim(), "all" | "compute")) =>
        {
            findings.push(
                error(format!("NVIDIA_DRIVER_CAPABILITIES=`{shown}` leaves out `compute`: libcuda is not mounted"))
                    .fact("`compute` mounts libcuda", "document: NVIDIA container toolkit")
                    .help("set NVIDIA_DRIVER_CAPABILITIES=compute,utility"),
            );
        }
        "NVIDIA_REQUIRE_CUDA" => require_variable(case, matrix, value_trimmed, findings),
        "LD_LIBRARY_PATH" => loader_path(case, matrix, wheel, value, findings),
        "LD_PRELOAD" if value.contains("libcuda") => findings.push(
            Finding::new(
                Code::EnvPath,
                Severity::Warning,
                format!("LD_PRELOAD=`{shown}` puts a CUDA library ahead of the wheel's"),
            )
            .help("unset LD_PRELOAD"),
        ),
        _ => (),
    }
}

/// The grammar of the container toolkit: spaces are OR, commas are AND.
fn require_variable(case: &Case, matrix: &Matrix, value: &str, findings: &mut Vec<Finding>) {
    let Some(driver) = case.driver.as_ref().and_then(|d| d.oldest) else {
        return;
    };
    let Some(has) = matrix.locate(driver).map(|at| at.branch.cuda) else {
        return;
    };
    let shown = crate::domain::shown(value);
    let mut undecided = false;
    for alternative in value.split_whitespace() {
        let mut holds = true;
        for term in alternative.split(',') {
            let cut = term.find(['<', '>', '=', '!']);
            let (key, rest) = term.split_at(cut.unwrap_or(term.len()));
            let op_len =
                rest.find(|c: char| !matches!(c, '<' | '>' | '=' | '!')).unwrap_or(rest.len());
            let (op, operand) = rest.split_at(op_len);
            if key == "brand" && op == "=" && !case.gpus.is_empty() {
                let listed = |g: &GpuMatch| brand_words(g).is_some_and(|w| w.contains(&operand));
                holds &= case.gpus.iter().all(listed);
                continue;
            }
            let order = match key {
                "cuda" => operand.parse::<CudaVersion>().ok().map(|v| has.cmp(&v.series())),
                "driver" => operand.parse::<DriverVersion>().ok().map(|v| driver.cmp(&v)),
                _ => None,
            };
            let Some(order) = order else {
                undecided = true;
                holds = false;
                break;
            };
            holds &= match op {
                ">=" => order.is_ge(),
                ">" => order.is_gt(),
                "<=" => order.is_le(),
                "<" => order.is_lt(),
                "=" => order.is_eq(),
                "!=" => order.is_ne(),
                _ => false,
            };
        }
        if holds {
            return;
        }
    }
    let finding = if undecided {
        Finding::new(
            Code::Unknown,
            Severity::Unknown,
            format!(
                "whether NVIDIA_REQUIRE_CUDA=`{shown}` holds on driver {driver} is not known: it has conditions on brand or driver"
            ),
        )
    } else {
        Finding::new(
            Code::ContainerRequirement,
            Severity::Error,
            format!("NVIDIA_REQUIRE_CUDA=`{shown}` does not hold: driver {driver} has CUDA {has}"),
        )
        .help("raise the driver, or lower the condition")
    };
    findings.push(finding);
}

fn loader_path(
    case: &Case,
    matrix: &Matrix,
    wheel: Option<Wheel<'_>>,
    value: &str,
    findings: &mut Vec<Finding>,
) {
    for part in value.split(':').map(|p| p.trim_end_matches('/')).filter(|p| !p.is_empty()) {
        if part.ends_with("/stubs") {
            findings.push(
                Finding::new(Code::EnvPath, Severity::Error, format!("LD_LIBRARY_PATH holds `{part}`: the stub of libcuda there is for linking only and fails with error 34"))
                    .help("take the stubs folder out of LD_LIBRARY_PATH"),
            );
        } else if part.ends_with("/compat") {
            compat_path(case, matrix, wheel, part, findings);
        } else if part.contains("/cuda") && !part.contains("/site-packages/") {
            cuda_path(wheel, part, findings);
        }
    }
}

fn cuda_path(wheel: Option<Wheel<'_>>, part: &str, findings: &mut Vec<Finding>) {
    let Some(cuda) = wheel.and_then(|w| w.cuda()) else {
        return;
    };
    let theirs = cuda_of_path(part);
    // A self-contained wheel finds its libraries beside itself.
    let bundled = wheel.is_some_and(|w| w.variant.bundled);
    let message = |more: &str| {
        format!(
            "LD_LIBRARY_PATH holds `{part}`: its CUDA libraries are found before the wheel's{more}"
        )
    };
    let finding = match theirs {
        Some(theirs)
            if theirs.major == cuda.major
                && cuda.major >= 12
                && theirs.series() < cuda
                && !bundled =>
        {
            Finding::new(
                Code::EnvPath,
                Severity::Error,
                message(&format!(", and CUDA {theirs} is older than its CUDA {cuda}")),
            )
            .fact(
                "an older libnvJitLink lacks symbols that the wheel's libcusparse asks for",
                "document: pytorch/pytorch#134929, #131312",
            )
        }
        Some(theirs) if theirs.major != cuda.major => {
            // Another major has other sonames: nothing is shadowed.
            Finding::new(
                Code::EnvPath,
                Severity::Note,
                format!(
                    "LD_LIBRARY_PATH holds `{part}`: of another CUDA major, so none of the wheel's libraries is shadowed"
                ),
            )
        }
        _ => Finding::new(Code::EnvPath, Severity::Warning, message("")),
    };
    findings
        .push(finding.help("take it out of LD_LIBRARY_PATH: the wheels find their own libraries"));
}

fn compat_path(
    case: &Case,
    matrix: &Matrix,
    wheel: Option<Wheel<'_>>,
    part: &str,
    findings: &mut Vec<Finding>,
) {
    let driver = case.driver.as_ref().and_then(|d| d.oldest);
    let (Some(cuda), Some(driver)) = (cuda_of_path(part), driver) else {
        let consumer = case
            .gpus
            .iter()
            .find(|g| matches!(g.kind, Some(GpuKind::Geforce | GpuKind::Titan | GpuKind::Family)));
        findings.push(match consumer {
            Some(gpu) => Finding::new(Code::ForwardCompatUnsupported, Severity::Error, format!(
                "LD_LIBRARY_PATH puts the libcuda of `{part}` ahead of the driver's, and {} is no data center card: error 804, or 803 on a newer driver", gpu.name
            )),
            None => Finding::new(Code::Unknown, Severity::Unknown, format!(
                "which libcuda `{part}` in LD_LIBRARY_PATH puts ahead of the driver's is not said"
            )),
        }.help("take the compat folder out of LD_LIBRARY_PATH"));
        return;
    };
    let has = matrix.locate(driver).map(|at| at.branch.cuda);
    if has.is_some_and(|has| has >= cuda.series()) {
        findings.push(
            Finding::new(Code::EnvPath, Severity::Error, format!(
                "LD_LIBRARY_PATH puts the libcuda of cuda-compat {cuda} ahead of driver {driver}, which is as new or newer: error 803"
            ))
            .help("take the compat folder out of LD_LIBRARY_PATH"),
        );
        return;
    }
    // With a wheel whose CUDA needs it, the driver's own judgement has asked already.
    let asked = wheel.and_then(|w| w.cuda()).is_some_and(|c| {
        matches!(
            super::physics::driver_fit(matrix, c, driver, case.platform()),
            super::physics::DriverFit::TooOld
        )
    });
    if asked {
        return;
    }
    if let Forward::Refused(finding) = forward_compat(case, matrix, driver, cuda.series()) {
        findings.push(*finding);
    }
}
