//! Lines of the form `key: value`: collect_env, the `env` commands of Hugging Face, xformers.info,
//! ComfyUI, os-release, and what people fill into forms.

use super::{Draft, Rank};
use crate::domain::{ComputeCapability, CudaVersion, Platform, digits};

/// Longest key, in bytes.
const LONGEST_KEY: usize = 60;

/// Reads a line.
pub(super) fn line(draft: &mut Draft<'_>, raw: &str, body: &str) {
    if let Some((index, name)) = listed_gpu(body) {
        draft.device(Rank::Block, name, Some(index));
        return;
    }
    if os_release(draft, raw) || uname(draft, body) {
        return;
    }
    let Some((key, value)) = key_value(body) else { return };
    let value = value.trim().trim_matches(['`', '*', '"']).trim();
    if !value.is_empty() && !is_nothing(value) {
        of_torch(draft, &key, value);
        of_machine(draft, &key, value);
    } else if key == "cuda used to build pytorch" && value.eq_ignore_ascii_case("none") {
        draft.torch_cuda(Rank::Block, None);
    }
}

/// `GPU 0: NVIDIA A100-SXM4-40GB (UUID: ...)`, alone or behind its heading.
fn listed_gpu(body: &str) -> Option<(&str, &str)> {
    let text = body
        .strip_prefix("GPU models and configuration")
        .map_or(body, |rest| rest.trim_start_matches([' ', ':']));
    let (index, name) = text.strip_prefix("GPU ")?.split_once(':')?;
    digits::<u8>(index.trim())?;
    let name = name.split(" (UUID").next().unwrap_or_default().trim();
    // `GPU 0: 12 MiB` tells something else of a card.
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().any(|b| b.is_ascii_digit())
        && !name.contains(['=', '%', '/']);
    is_name.then_some((index.trim(), name))
}

/// Key in lower case and value, of `key: value`, `key : value` and cells of a table.
fn key_value(body: &str) -> Option<(String, &str)> {
    let text = body.trim_start_matches(['-', '*', '•', '|', '#', '+', ' ']);
    let mut head = LONGEST_KEY.min(text.len());
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    let at = text[..head].find([':', '|'])?;
    let (key, rest) = text.split_at(at);
    let value = rest[1..].trim_start_matches(':').trim_end_matches('|');
    if value.starts_with("//") {
        return None;
    }
    let words = key.split_whitespace().map(|word| word.trim_matches(['*', '`', '_', '"', '\'']));
    let key = words.collect::<Vec<_>>().join(" ").to_ascii_lowercase();
    (!key.is_empty()).then_some((key, value))
}

/// Ways to say that there is nothing to say.
fn is_nothing(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    [
        "n/a",
        "none",
        "no cuda",
        "could not collect",
        "not installed",
        "not found",
        "unknown",
        "na",
        "<fill in>",
    ]
    .contains(&lower.as_str())
}

/// What torch says of itself, and the Python around it.
fn of_torch(draft: &mut Draft<'_>, key: &str, value: &str) {
    let rank = Rank::Block;
    match key {
        "pytorch version"
        | "torch version"
        | "pytorch version (gpu?)"
        | "pytorch version (accelerator?)"
        | "pytorch.version"
        | "torch.__version__"
        | "installed pytorch version" => {
            draft.block();
            draft.torch(rank, value.split(' ').next().unwrap_or_default());
            if let Some(inner) = value.split_once('(').map(|(_, rest)| rest.trim_end_matches(')')) {
                boolean(draft, rank, inner);
            }
        }
        "pytorch" | "torch" => {
            draft.torch(Rank::Replied, value.split(' ').next().unwrap_or_default());
        }
        "cuda used to build pytorch"
        | "torch.version.cuda"
        | "pytorch cuda version"
        | "torch cuda version" => {
            if let Ok(cuda) = value.parse::<CudaVersion>() {
                draft.torch_cuda(rank, Some(cuda));
            }
        }
        "rocm used to build pytorch" | "torch.version.hip" => {
            draft.here().hip.put(rank, value.to_owned());
            draft.torch_cuda(rank, None);
            draft.other("ROCm");
        }
        "is cuda available"
        | "cuda available"
        | "gpu available"
        | "torch.cuda.is_available()"
        | "pytorch gpu available"
        | "is cuda available (pytorch)"
        | "torch cuda available"
        | "torch.cuda.is_available" => boolean(draft, rank, value),
        "pytorch.cuda" => {
            if value == "available" {
                draft.available(rank, true);
            } else if value == "not available" {
                draft.available(rank, false);
            }
        }
        "is xpu available" | "pytorch xpu available" if value == "True" => draft.other("XPU"),
        "is npu available" | "pytorch npu available" if value == "True" => draft.other("Ascend"),
        "python version" | "python" | "build.python_version" => draft.python(rank, value),
        "xformers version" | "xformers" => draft.package(rank, "xformers", value),
        "torchvision version" | "torchvision" => {
            draft.package(Rank::Replied, "torchvision", first(value));
        }
        "torchaudio version" | "torchaudio" => {
            draft.package(Rank::Replied, "torchaudio", first(value));
        }
        "triton version" => draft.package(rank, "triton", first(value)),
        "torch.cuda.device_count()" => {
            if let Some(count) = digits::<u32>(value) {
                draft.here().count.put(rank, count);
            }
        }
        _ => (),
    }
}

fn first(value: &str) -> &str {
    value.split_whitespace().next().unwrap_or_default()
}

fn boolean(draft: &mut Draft<'_>, rank: Rank, value: &str) {
    match value {
        "True" | "true" | "Yes" | "yes" => draft.available(rank, true),
        "False" | "false" | "No" | "no" => draft.available(rank, false),
        _ => (),
    }
}

/// The machine around it.
fn of_machine(draft: &mut Draft<'_>, key: &str, value: &str) {
    let rank = Rank::Block;
    match key {
        "os" | "operating system" => os(draft, value),
        "python platform" | "platform" => platform(draft, value),
        "libc version" => {
            if let Some(glibc) = value.strip_prefix("glibc-").and_then(|v| v.parse().ok()) {
                draft.see("glibc", value);
                draft.glibc.put(rank, glibc);
            }
        }
        "gcc version" => {
            // `(Ubuntu 11.4.0-1ubuntu1~22.04) 11.4.0`, `(GCC) 4.8.5 20150623 (Red Hat 4.8.5-44)`; the kernel
            // module's `gcc version 11.4.0` is another one.
            let rest =
                value.strip_prefix('(').and_then(|v| v.split_once(')')).map_or(value, |(_, r)| r);
            let version = rest.split_whitespace().next().unwrap_or_default();
            if version.starts_with(|c: char| c.is_ascii_digit()) {
                draft.compiler.put(rank, format!("gcc {version}"));
            }
        }
        "architecture" => machine(draft, value),
        "nvidia driver version" | "nvidia driver" | "gpu driver version" => {
            draft.driver(rank, value);
        }
        // nvidia-smi is read as a whole; this is for a line that somebody copied out of it.
        "driver version" | "driver" => {
            draft.driver(Rank::Replied, value);
            draft.driver_line = draft.line;
        }
        // Alone it may be anybody's.
        "cuda version" if draft.line.wrapping_sub(draft.driver_line) < 3 => {
            if let Ok(cuda) = value.parse::<CudaVersion>() {
                draft.driver_cuda(Rank::Replied, cuda);
            }
        }
        "cuda driver version" | "nvidia driver cuda" => {
            if let Ok(cuda) = value.parse::<CudaVersion>() {
                draft.driver_cuda(rank, cuda);
            }
        }
        // collect_env asks nvcc for it.
        "cuda runtime version" | "nvcc" => {
            let number = value.split("release ").nth(1).unwrap_or(value);
            let number = number.split([' ', ',']).next().unwrap_or_default();
            if let Ok(cuda) = number.parse::<CudaVersion>() {
                draft.toolkit(rank, "nvcc", cuda);
            }
        }
        "cudnn version" => {
            if let Some(number) = digits::<u64>(value).filter(|n| *n > 1000) {
                draft.here().cudnn.put(rank, number);
            }
        }
        "gpu type"
        | "gpu name"
        | "gpu.name"
        | "gpu models"
        | "gpu model"
        | "gpu device name"
        | "device name"
        | "using gpu in script?"
        | "gpu" => {
            let name = value.split(" (").next().unwrap_or_default();
            if draft.is_card(name) {
                draft.device(rank, name, None);
            }
        }
        // ComfyUI: `Device: cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync`.
        "device" => {
            if let Some(name) = value.strip_prefix("cuda:").and_then(|rest| rest.split_once(' ')) {
                draft.device(rank, name.1.split(" : ").next().unwrap_or_default(), None);
            }
        }
        "gpu.compute_capability" | "compute capability" | "cuda capability" => {
            let capability = value.parse::<ComputeCapability>().ok();
            if let (Some(capability), Some((_, device))) = (capability, draft.devices.last_mut()) {
                device.capability = device.capability.or(Some(capability));
            }
        }
        "nvrm version" => nvrm(draft, value),
        _ => (),
    }
}

/// `NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build`.
pub(super) fn nvrm(draft: &mut Draft<'_>, value: &str) {
    use crate::domain::KernelModule::{Open, Proprietary};
    let version = value.split_whitespace().find_map(|word| {
        word.parse::<crate::domain::DriverVersion>().ok().filter(|_| word.contains('.'))
    });
    if let (Some(version), true) = (version, value.contains("Kernel Module")) {
        draft.see("kernel module", &version.to_string());
        let flavour = if value.contains("Open Kernel Module") { Open } else { Proprietary };
        draft.module.get_or_insert((version, flavour));
        draft.driver.put(Rank::Block, version);
    }
}

/// `Ubuntu 22.04.3 LTS (x86_64)`, `Microsoft Windows 11 Pro`, `macOS 14.4 (arm64)`.
fn os(draft: &mut Draft<'_>, value: &str) {
    let lower = value.to_ascii_lowercase();
    if lower.contains("windows") {
        let arm = lower.contains("arm64");
        let platform = if arm { Platform::WindowsArm64 } else { Platform::WindowsAmd64 };
        draft.platform(Rank::Block, platform);
    } else if lower.starts_with("mac") || lower.contains("darwin") {
        let intel = lower.contains("x86_64");
        draft
            .platform(Rank::Block, if intel { Platform::MacosAmd64 } else { Platform::MacosArm64 });
    } else if let Some(name) = lower.split([' ', '/']).next().filter(|n| n.len() > 1) {
        let version = lower.split([' ', '(']).find(|w| w.starts_with(|c: char| c.is_ascii_digit()));
        // Patches of a release are the same to every package.
        let version = version.map(|v| v.splitn(3, '.').take(2).collect::<Vec<_>>().join("."));
        draft.see("system", value);
        draft.musl |= name == "alpine";
        draft.distro.put(Rank::Block, (name.to_owned(), version));
        machine(draft, lower.rsplit('(').next().unwrap_or_default().trim_end_matches(')'));
    }
}

/// The machine of a Linux system.
fn machine(draft: &mut Draft<'_>, word: &str) {
    match word.trim() {
        "x86_64" => draft.platform(Rank::Replied, Platform::LinuxAmd64),
        "aarch64" => draft.platform(Rank::Replied, Platform::LinuxArm64),
        "ppc64le" => draft.platform(Rank::Replied, Platform::LinuxPpc64le),
        _ => (),
    }
}

/// `Linux-5.15.0-91-generic-x86_64-with-glibc2.35`, `Windows-10-10.0.19045-SP0`.
fn platform(draft: &mut Draft<'_>, value: &str) {
    let lower = value.to_ascii_lowercase();
    if lower.starts_with("windows") || lower.starts_with("mac") || lower.starts_with("darwin") {
        os(draft, value);
        return;
    }
    let Some(rest) = lower.strip_prefix("linux-") else { return };
    for word in ["x86_64", "aarch64", "ppc64le"] {
        if let Some(at) = rest.find(&format!("-{word}")) {
            machine(draft, word);
            kernel(draft, &rest[..at]);
        }
    }
    if let Some(glibc) = lower.split("with-glibc").nth(1).and_then(|v| v.parse().ok()) {
        draft.glibc.put(Rank::Block, glibc);
    }
    draft.musl |= lower.contains("with-musl");
}

fn kernel(draft: &mut Draft<'_>, release: &str) {
    draft.see("kernel", release);
    draft.kernel.put(Rank::Block, release.to_owned());
    if release.contains("microsoft") {
        let version = if release.starts_with("4.4.") { 1 } else { 2 };
        draft.wsl.put(Rank::Block, version);
    }
    if release.contains("tegra") {
        draft.jetson.put(Rank::Passing, "Jetson".into());
    }
}

/// `Linux host 5.15.0-91-generic #101-Ubuntu SMP ... x86_64 GNU/Linux`.
fn uname(draft: &mut Draft<'_>, body: &str) -> bool {
    if !body.starts_with("Linux ") || !body.ends_with("GNU/Linux") {
        return false;
    }
    let words: Vec<&str> = body.split_whitespace().collect();
    if let Some(release) = words.get(2) {
        kernel(draft, release);
    }
    if let Some(word) = words.iter().rev().nth(1) {
        machine(draft, word);
    }
    true
}

/// Lines of /etc/os-release.
fn os_release(draft: &mut Draft<'_>, raw: &str) -> bool {
    if let Some(name) = raw.strip_prefix("PRETTY_NAME=") {
        os(draft, name.trim_matches('"'));
        return true;
    }
    false
}
