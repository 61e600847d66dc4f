//! The links themselves: facts about what was chosen.

use super::{Link, cited};
use crate::domain::{
    CodeTarget, CudaVersion, DriverSpec, DriverVersion, Platform, Suffix, WheelVariant,
};
use crate::matrix::{Build, GpuMatch, Matrix, Release, Variant};
use crate::resolve::case::Driver;
use crate::resolve::judge::code_text;
use crate::resolve::physics::{self, Served};
use crate::resolve::{DriverMode, Pin, PinIndex, Stack};

/// The rows of what was chosen.
#[derive(Clone, Copy)]
struct Rows<'m> {
    release: Option<&'m Release>,
    variant: Option<&'m Variant>,
    build: Option<&'m Build>,
}

impl<'m> Rows<'m> {
    fn of(stack: &Stack, matrix: &'m Matrix) -> Self {
        let release = matrix.release(stack.torch);
        let variant = release.and_then(|r| r.variant(stack.variant));
        Self { release, variant, build: variant.and_then(|v| v.build(stack.platform)) }
    }
}

fn row_of_build(stack: &Stack) -> String {
    format!("torch/{}+{}", stack.torch, stack.variant)
}

/// Card -> capability -> code -> wheel.
pub(super) fn to_torch(stack: &Stack, matrix: &Matrix) -> Vec<Link> {
    let rows = Rows::of(stack, matrix);
    let mut links = Vec::new();
    for judged in &stack.gpus {
        links.push(card(&judged.gpu, matrix));
    }
    let source = rows.build.map_or_else(String::new, |build| {
        cited(matrix, &row_of_build(stack), &build.evidence, "code")
    });
    for judged in &stack.gpus {
        let (text, rule) = code(&judged.gpu, judged.served, stack, matrix);
        let source = rule.map_or_else(|| source.clone(), |rule| format!("{source}; {rule}"));
        links.push(Link::new("code", text, source));
    }
    if let Some(build) = rows.build {
        links.push(Link::new("code", format!("the file holds {}", code_text(&build.code)), source));
    }
    let place = match stack.packages.first().map(|pin| pin.index) {
        Some(PinIndex::Pytorch(page)) => format!("from page {page} of the PyTorch wheel index"),
        _ => "from PyPI".into(),
    };
    let text = format!("{}+{} for {}, {place}", stack.torch, stack.variant, stack.platform);
    let source = rows.variant.map_or_else(String::new, |variant| {
        cited(matrix, &row_of_build(stack), &variant.evidence, "builds")
    });
    links.push(Link::new("torch", text, source));
    links.extend(rows.release.map(|release| index(stack, release, matrix)));
    links
}

fn card(gpu: &GpuMatch, matrix: &Matrix) -> Link {
    let capability = gpu.capability;
    if let Some(row) = gpu.row.map(|row| &matrix.gpus[row]) {
        let given = if gpu.given == gpu.name { String::new() } else { format!(" ({})", gpu.given) };
        let text = format!(
            "{}{given} has compute capability {capability}, {}",
            gpu.name, row.architecture
        );
        let source = cited(matrix, &format!("gpus/{}", row.id), &row.evidence, "capability");
        return Link::new("gpu", text, source);
    }
    let text = format!("{} stands for every card of compute capability {capability}", gpu.given);
    let generation = matrix.generation(capability);
    let source = generation.map_or_else(String::new, |row| {
        cited(matrix, &format!("generations/{}", row.name), &row.evidence, "capabilities")
    });
    Link::new("gpu", text, source)
}

/// What serves a card, by which rule, and the row of the rule where it has one.
fn code(
    gpu: &GpuMatch,
    served: Option<Served>,
    stack: &Stack,
    matrix: &Matrix,
) -> (String, Option<String>) {
    let (name, capability) = (&gpu.name, gpu.capability);
    let by_machine_code = |code: CodeTarget| {
        let rule = match code.suffix {
            Suffix::ArchSpecific => "it runs on this capability alone".to_owned(),
            Suffix::Family => "it runs within its family, from its own capability up".to_owned(),
            Suffix::Plain if code.capability == capability => "machine code made for it".to_owned(),
            Suffix::Plain => {
                format!("machine code of {} runs on later cards of its major", code.capability)
            }
        };
        let row = matrix.code_rules.iter().find(|row| row.code == code);
        let row = row.map(|_| format!("code_rules/{code}"));
        (format!("{code} serves {name}: {rule}"), row)
    };
    match served {
        Some(Served::Exact(code) | Served::SameMajor(code)) => by_machine_code(code),
        Some(Served::Ptx(code)) => {
            let text = format!(
                "{code}, PTX, serves {name}: the driver compiles it at the first start, so it must implement CUDA {}",
                stack.cuda
            );
            (text, None)
        }
        Some(Served::Nothing) => (format!("nothing in the file serves {name}"), None),
        Some(Served::Unknown) | None => (format!("what serves {name} is not known"), None),
    }
}

/// Why the file comes from where it comes.
fn index(stack: &Stack, release: &Release, matrix: &Matrix) -> Link {
    let platform = stack.platform;
    let text = match release.pypi.get(&platform) {
        Some(served) if *served == stack.variant && stack.from_pypi => {
            format!("PyPI serves exactly this build for {platform}: installed without a label")
        }
        Some(served) if *served == stack.variant => {
            "PyPI has this build too; what is asked for beside it is on the page alone, and all come from one index"
                .into()
        }
        Some(WheelVariant::Cpu) => {
            format!("PyPI serves a CPU build for {platform}; this one is on its own page alone")
        }
        Some(served) => {
            format!("PyPI serves {served} for {platform}; this one is on its own page alone")
        }
        None => format!("PyPI has no file for {platform}"),
    };
    let row = format!("torch/{}", release.version);
    Link::new("index", text, cited(matrix, &row, &release.evidence, "pypi"))
}

/// CUDA -> driver -> libraries -> packages -> Python -> C library -> image.
pub(super) fn from_torch(stack: &Stack, matrix: &Matrix) -> Vec<Link> {
    let rows = Rows::of(stack, matrix);
    let mut links = Vec::new();
    let pins = rows.variant.map_or_else(String::new, |variant| {
        cited(matrix, &row_of_build(stack), &variant.evidence, "requires")
    });
    let brings = match (rows.variant.is_some_and(|v| v.bundled), stack.toolkit) {
        (true, _) => "its libraries are inside the torch wheel".to_owned(),
        (false, Some(toolkit)) => format!("its libraries come as wheels of toolkit {toolkit}"),
        (false, None) => "its libraries come as wheels".to_owned(),
    };
    let text = format!("{}: {brings}; no toolkit is needed to run it", stack.cuda);
    links.push(Link::new("CUDA", text, pins.clone()));
    driver(stack, matrix, &mut links);
    links.push(cudnn(stack, matrix, &pins));
    let pinned = |version: &Option<String>| {
        version
            .as_ref()
            .map_or_else(|| "not known".to_owned(), |v| format!("{v}, as torch pins it"))
    };
    if stack.platform.is_linux() {
        links.push(Link::new("NCCL", pinned(&stack.nccl), pins.clone()));
        links.push(triton(stack, rows.variant, matrix, &pins));
    }
    for pin in stack.packages.iter().filter(|pin| pin.requested && pin.name != "torch") {
        links.push(companion(pin, stack, rows.release, matrix));
    }
    if let Some(release) = rows.release {
        let tags: Vec<_> = release
            .wheels
            .iter()
            .filter(|w| w.platform == Some(stack.platform))
            .flat_map(|w| w.python.iter().map(ToString::to_string))
            .collect();
        let text = format!("{}: the release has files for {}", stack.python, tags.join(" "));
        let row = format!("torch/{}", stack.torch);
        links.push(Link::new("Python", text, cited(matrix, &row, &release.evidence, "wheels")));
    }
    libc(stack, rows.build, matrix, &mut links);
    image(stack, matrix, &mut links);
    links
}

/// The floors of the driver, those of the cards, and how the given one stands to them.
fn driver(stack: &Stack, matrix: &Matrix, links: &mut Vec<Link>) {
    let (cuda, platform) = (stack.cuda, stack.platform);
    let mut add = |text: String, source: String| links.push(Link::new("driver", text, source));
    let by_ptx = stack.gpus.iter().any(|g| matches!(g.served, Some(Served::Ptx(_))));
    let minor = matrix.minor_floor(cuda, platform);
    if let Some(row) = matrix.minor_compat.iter().find(|m| m.cuda_major == cuda.major)
        && let Some(floor) = minor
    {
        let but = if by_ptx { ", which PTX does not profit from" } else { "" };
        add(
            format!(
                "{floor} or newer starts CUDA {}.x by minor-version compatibility{but}",
                cuda.major
            ),
            cited(matrix, &format!("minor_compat/{}", cuda.major), &row.evidence, "linux"),
        );
    }
    if let Some(native) = physics::native_floor(matrix, cuda, platform) {
        add(
            format!("{native} or newer implements CUDA {cuda}: PTX and every call work"),
            native_source(matrix, cuda, platform, native),
        );
    }
    for judged in &stack.gpus {
        let gpu = &judged.gpu;
        for (text, source) in of_card(gpu, matrix) {
            add(text, source);
        }
    }
    if let Some(given) = &stack.driver_given {
        let (text, source) = yours(given, stack, matrix);
        add(text, source);
    }
    if let Some(min) = stack.driver.min {
        add(format!("so the oldest that runs it is {min}"), String::new());
    }
}

/// The row that tells which driver implements a CUDA series.
fn native_source(
    matrix: &Matrix,
    cuda: CudaVersion,
    platform: Platform,
    native: DriverVersion,
) -> String {
    let driver = |t: &crate::matrix::Toolkit| {
        if platform == Platform::WindowsAmd64 { t.driver_windows } else { t.driver }
    };
    let toolkits = matrix.toolkits.iter().filter(|t| t.version.series() == cuda.series());
    let toolkit = toolkits.into_iter().find(|t| driver(t) == Some(native));
    match (toolkit, matrix.branch_for_cuda(cuda)) {
        (Some(row), _) => {
            cited(matrix, &format!("toolkits/{}", row.version), &row.evidence, "driver")
        }
        (None, Some(row)) => {
            cited(matrix, &format!("branches/{}", row.branch), &row.evidence, "cuda")
        }
        (None, None) => String::new(),
    }
}

/// First driver, last branch and kernel module of a card.
fn of_card(gpu: &GpuMatch, matrix: &Matrix) -> Vec<(String, String)> {
    let name = &gpu.name;
    if gpu.is_jetson() {
        return vec![(format!("{name}: its driver comes with JetPack"), String::new())];
    }
    let mut list = Vec::new();
    let generation = matrix.generation(gpu.capability);
    let of_generation = |column: &str| {
        generation.map_or_else(String::new, |row| {
            cited(matrix, &format!("generations/{}", row.name), &row.evidence, column)
        })
    };
    let listed = matrix.first_listed(gpu);
    if let Some((row, first)) = listed.and_then(|row| Some((row, row.version?))) {
        let source = cited(matrix, &format!("first_listed/{}", row.name), &row.evidence, "version");
        list.push((format!("{name}: the first that lists it is {first}"), source));
    } else if let Some(first) = generation.and_then(|g| g.first_branch) {
        list.push((format!("{name}: known from branch {first} on"), of_generation("first_branch")));
    }
    if let Some(last) = generation.and_then(|g| g.last_branch) {
        let text = format!("{name}: branch {last} is the last that drives it");
        list.push((text, of_generation("last_branch")));
    }
    if let Some(module) = gpu.module {
        list.push((format!("{name}: takes the {module} kernel module"), of_generation("module")));
    }
    list
}

/// How the driver at hand stands to the build.
fn yours(given: &str, stack: &Stack, matrix: &Matrix) -> (String, String) {
    let spec = given.parse::<DriverSpec>().ok();
    let placed = spec.and_then(|spec| Driver::place(spec, matrix).ok());
    let oldest = placed.as_ref().and_then(|driver| driver.oldest);
    let located = oldest.and_then(|oldest| matrix.locate(oldest));
    let (Some(oldest), Some(at)) = (oldest, located) else {
        return (format!("yours is {given}: the table does not place it"), String::new());
    };
    let branch = at.branch.branch;
    let implements = format!("yours is {given}: {oldest} implements CUDA {}", at.branch.cuda);
    let source = cited(matrix, &format!("branches/{branch}"), &at.branch.evidence, "cuda");
    let (how, more) = match stack.driver.mode {
        Some(DriverMode::Native) => ("it runs this build with everything", None),
        Some(DriverMode::MinorCompat) => {
            ("it runs this build by minor-version compatibility", None)
        }
        Some(DriverMode::ForwardCompat) => {
            // As the judgement takes them: the first package that stands on the branch.
            let package = matrix.forward_compat.iter().find(|p| {
                p.cuda >= stack.cuda.series()
                    && p.cuda.major == stack.cuda.major
                    && p.usable_on.contains(&oldest.branch)
            });
            let row = package.map(|row| format!("forward_compat/{}", row.package));
            ("it runs this build by cuda-compat", row)
        }
        None => ("how it runs this build is not known", None),
    };
    let source = more.map_or_else(|| source.clone(), |more| format!("{source}; {more}"));
    (format!("{implements}; {how}"), source)
}

fn cudnn(stack: &Stack, matrix: &Matrix, pins: &str) -> Link {
    let Some(version) = stack.cudnn else {
        return Link::new("cuDNN", "not known", pins);
    };
    let Some(row) = matrix.cudnn(version, stack.cuda.major) else {
        return Link::new(
            "cuDNN",
            format!("{version}, as torch pins it; its code is not known"),
            pins,
        );
    };
    let code = row.code.get(&stack.platform);
    let serves: Vec<String> = stack
        .gpus
        .iter()
        .filter_map(|judged| match physics::served(matrix, code?, None, judged.gpu.capability) {
            Served::Exact(c) | Served::SameMajor(c) | Served::Ptx(c) => {
                Some(format!("{c} for {}", judged.gpu.name))
            }
            Served::Nothing | Served::Unknown => None,
        })
        .collect();
    let has = if serves.is_empty() {
        "for which cards it has code was not read".to_owned()
    } else {
        format!("it has {}", serves.join(", "))
    };
    let source = format!("{pins}; cudnn/{version}-cu{}", row.cuda_major);
    Link::new("cuDNN", format!("{version}, as torch pins it; {has}"), source)
}

fn triton(stack: &Stack, variant: Option<&Variant>, matrix: &Matrix, pins: &str) -> Link {
    let Some(version) = &stack.triton else {
        return Link::new("Triton", "not known", pins);
    };
    let text = match variant.and_then(|v| v.triton.as_deref()) {
        Some(specifier) => format!("{version}, the newest known that torch admits ({specifier})"),
        None => version.clone(),
    };
    let known = matrix.companions("triton").iter().any(|row| row.version == *version);
    let row = if known { format!("; companions/triton-{version}") } else { String::new() };
    Link::new("Triton", text, format!("{pins}{row}"))
}

fn companion(pin: &Pin, stack: &Stack, release: Option<&Release>, matrix: &Matrix) -> Link {
    let name = &pin.name;
    let Some(version) = &pin.version else {
        let asked = pin.specifier.as_deref().unwrap_or("any version");
        let text = format!("{name} {asked}: which version it is, the index decides");
        return Link::new("with", text, "");
    };
    let label = pin.local.as_deref().map_or(String::new(), |label| format!("+{label}"));
    let train = release.and_then(|r| r.train.get(name));
    let made = |list: &[String]| list.iter().any(|v| v == version);
    let row = matrix.companions(name).iter().find(|row| row.version == *version);
    let why = if train.is_some_and(|train| made(&train.exact)) {
        format!("made for torch {}", stack.torch)
    } else if let Some(torch) = row.and_then(|row| row.requires.get("torch")) {
        let torch = if torch.is_empty() { "in any version" } else { torch };
        format!("it asks for torch {torch}")
    } else {
        "it names no torch".into()
    };
    let how = if pin.source_build { ", compiled on installation" } else { "" };
    let source = row.map_or_else(String::new, |row| {
        cited(matrix, &format!("companions/{name}-{version}"), &row.evidence, "requires")
    });
    Link::new("with", format!("{name} {version}{label}: {why}{how}"), source)
}

fn libc(stack: &Stack, build: Option<&Build>, matrix: &Matrix, links: &mut Vec<Link>) {
    let Some(min) = stack.glibc_min else { return };
    let tag = build.and_then(|build| build.tag.as_deref()).unwrap_or("(not known)");
    let here = stack.glibc.map_or_else(
        || "what the image has is not known".to_owned(),
        |glibc| format!("where it runs it is {glibc}"),
    );
    let source = build.map_or_else(String::new, |build| {
        cited(matrix, &row_of_build(stack), &build.evidence, "glibc")
    });
    links.push(Link::new("glibc", format!("{min} or newer, by its tag {tag}; {here}"), source));
}

fn image(stack: &Stack, matrix: &Matrix, links: &mut Vec<Link>) {
    let row = |repository: &str, tag: &str| {
        if repository == "python" {
            let image = matrix
                .python_images
                .iter()
                .find(|i| i.variants.iter().any(|variant| variant == tag))?;
            return Some(cited(
                matrix,
                &format!("python_images/{}", image.tag),
                &image.evidence,
                "variants",
            ));
        }
        // `12.6.3-devel-ubuntu24.04`
        let image = matrix.cuda_images.iter().find(|image| {
            tag.strip_prefix(&format!("{}-", image.cuda)).is_some_and(|rest| {
                image.distros.iter().any(|distro| rest.ends_with(distro.as_str()))
            })
        })?;
        let key = format!("cuda_images/{}-{}", image.cuda, image.distros.join(","));
        Some(cited(matrix, &key, &image.evidence, "flavours"))
    };
    let base = &stack.base;
    let source = row(&base.repository, &base.tag).unwrap_or_default();
    let text = format!("{}:{}: {}", base.repository, base.tag, base.why);
    links.push(Link::new("image", text, source));
    if let Some((repository, tag)) = &base.builder {
        let text = format!("{repository}:{tag} compiles, and stays out of the final image");
        links.push(Link::new("image", text, row(repository, tag).unwrap_or_default()));
    }
    if !base.apt.is_empty() {
        let text = format!("with {}, as `needs` asks", base.apt.join(" and "));
        links.push(Link::new("image", text, ""));
    }
}
