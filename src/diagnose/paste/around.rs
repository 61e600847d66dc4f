//! What stands anywhere: cards by name, paths that hold versions, names of images, variables,
//! accelerators of other makers.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use regex::Regex;

use super::{Draft, Rank};
use crate::domain::{CudaVersion, GpuKind, Platform};
use crate::matrix::Matrix;

/// Cards that are looked for, of which a line may name this many.
const MOST_ON_A_LINE: usize = 8;

/// Names of cards as they stand in a running text.
pub(super) struct Names {
    names: AhoCorasick,
    /// For each: it is short, and counts only where nothing else of a word touches it.
    short: Vec<bool>,
}

impl Names {
    pub fn new(matrix: &Matrix) -> Self {
        let mut list: Vec<(String, bool)> = Vec::new();
        for gpu in &matrix.gpus {
            for name in &gpu.names {
                let plain = name.strip_prefix("NVIDIA ").unwrap_or(name);
                let model = plain.strip_prefix("GeForce ").unwrap_or(plain);
                list.push((name.clone(), false));
                list.push((format!("NVIDIA {model}"), false));
                // `RTX 3090` is a name; `T4` and `L40` are words of other texts too.
                for form in [plain, model] {
                    if form.contains(' ') || form.len() > 8 {
                        list.push((form.to_owned(), false));
                    }
                }
            }
            // `A100`, `H100`, `V100`: as people call cards of data centers.
            for name in
                gpu.aliases.iter().chain([&gpu.id]).filter(|_| gpu.kind == GpuKind::Datacenter)
            {
                let mut chars = name.chars();
                let model = name.len() >= 4
                    && name.len() <= 6
                    && chars.next().is_some_and(|c| c.is_ascii_alphabetic())
                    && chars.filter(char::is_ascii_digit).count() >= 2
                    && name.chars().all(|c| c.is_ascii_alphanumeric());
                if model {
                    list.push((name.to_ascii_uppercase(), true));
                }
            }
        }
        let names = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .build(list.iter().map(|(name, _)| name))
            .expect("a thousand names make a small automaton");
        Self { names, short: list.into_iter().map(|(_, short)| short).collect() }
    }

    /// Cards that a line names, and whether each name is a short one.
    fn find<'l>(&self, line: &'l str) -> impl Iterator<Item = (&'l str, bool)> {
        let found = self.names.find_iter(line).filter_map(|found| {
            let short = self.short[found.pattern().as_usize()];
            let (before, name, rest) =
                (&line[..found.start()], &line[found.start()..found.end()], &line[found.end()..]);
            let touches = |c: char| {
                c.is_ascii_alphanumeric() || c == '_' || (short && matches!(c, '-' | '.' | '/'))
            };
            let bad = before.chars().next_back().is_some_and(touches)
                || rest.chars().next().is_some_and(touches);
            if bad || (short && name.chars().any(|c| c.is_ascii_lowercase())) {
                return None;
            }
            // Another product may hide behind the name of a known one.
            let after = rest.strip_prefix(' ').unwrap_or_default().to_ascii_lowercase();
            let other = ["ti", "super", "ada", "d", "pro", "max"].iter().any(|word| {
                after
                    .strip_prefix(word)
                    .is_some_and(|r| !r.starts_with(|c: char| c.is_ascii_alphanumeric()))
            });
            (!other).then_some((name, short))
        });
        found.take(MOST_ON_A_LINE)
    }
}

/// Reads a line.
pub(super) fn line(draft: &mut Draft<'_>, names: &Names, raw: &str) {
    for (name, short) in names.find(raw) {
        // A short name is only taken where no whole one stands.
        let taken = draft.devices.iter().any(|(_, device)| !device.name.is_empty());
        if !short || !taken {
            let rank = if super::spoken::own_card(raw) { Rank::Spoken } else { Rank::Passing };
            draft.device(rank, name, None);
        }
    }
    drivers(draft, raw);
    paths(draft, raw);
    images(draft, raw);
    variables(draft, raw);
    others(draft, raw);
}

/// `driver 570.86.16`, `NVRM: loading NVIDIA UNIX x86_64 Kernel Module  575.51.03`, NCCL's own line.
fn drivers(draft: &mut Draft<'_>, raw: &str) {
    static DRIVER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)\bdriver(?: version)?[ :=v]+([0-9]{3}\.[0-9]{2,3}(?:\.[0-9]{2})?)\b")
            .expect("a pattern")
    });
    if let Some((_, rest)) = raw.split_once("NVRM: loading ") {
        super::block::nvrm(draft, rest);
    } else if let Some((_, rest)) = raw.split_once("NCCL INFO cudaDriverVersion ") {
        super::told::thousands(draft, rest);
    } else if (raw.contains("river"))
        && let Some(found) = DRIVER.captures(raw)
    {
        draft.driver(Rank::Passing, &found[1]);
    }
}

/// `python3.10/site-packages`, `/usr/local/cuda-12.1/`, `C:\`.
fn paths(draft: &mut Draft<'_>, raw: &str) {
    if let Some((before, _)) = raw.split_once("-packages") {
        let word = before.rsplit(['"', '\'', ' ']).next().unwrap_or_default();
        let version = word.rsplit("python3.").next().filter(|_| word.contains("python3."));
        if let Some(version) = version {
            let minor = version.split(['/', '\\']).next().unwrap_or_default();
            draft.python(Rank::Passing, &format!("3.{minor}"));
        }
        if before.contains(":\\") {
            draft.platform(Rank::Passing, Platform::WindowsAmd64);
        }
    }
    // `C:\Users\me>`, `PS D:\work>`, `File "E:\app\main.py"`.
    if let Some((before, _)) = raw.split_once(":\\") {
        let drive = before.chars().next_back().is_some_and(|c| c.is_ascii_uppercase());
        let starts = before.len() < 2 || before[..before.len() - 1].ends_with([' ', '"', '\'']);
        if drive && starts {
            draft.platform(Rank::Passing, Platform::WindowsAmd64);
        }
    }
    if raw.contains("/usr/local/cuda-") || raw.contains("Computing Toolkit\\CUDA\\v") {
        static TOOLKIT: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"(?:/usr/local/cuda-|Computing Toolkit\\CUDA\\v)([0-9]{1,2}\.[0-9]{1,2})\b")
                .expect("a pattern")
        });
        for found in TOOLKIT.captures_iter(raw).take(MOST_ON_A_LINE) {
            if let Ok(cuda) = found[1].parse::<CudaVersion>() {
                draft.toolkit(Rank::Passing, &format!("/usr/local/cuda-{cuda}"), cuda);
            }
        }
    }
    if raw.contains("/usr/lib/wsl/lib") || raw.contains("microsoft-standard-WSL2") {
        draft.see("system", "WSL2");
        draft.wsl.put(Rank::Passing, 2);
    }
    if let Some((_, rest)) = raw.split_once("NVIDIA Jetson ") {
        let model: Vec<&str> = rest.split_whitespace().take(2).collect();
        if !model.is_empty() {
            draft.jetson.put(Rank::Replied, format!("NVIDIA Jetson {}", model.join(" ")));
        }
    } else if raw.contains("-tegra")
        || raw.contains("L4T ")
        || raw.contains("+nv2") && raw.contains("torch") && raw.contains("aarch64")
    {
        draft.jetson.put(Rank::Passing, "Jetson".into());
    }
}

/// `nvidia/cuda:12.4.1-runtime-ubuntu22.04`, `pytorch/pytorch:2.1.0-cuda12.1-cudnn8-runtime`.
fn images(draft: &mut Draft<'_>, raw: &str) {
    static IMAGE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?:[a-z0-9.-]+/)?(?:nvidia/cuda|pytorch/pytorch):([0-9A-Za-z_.-]+)")
            .expect("a pattern")
    });
    if !raw.contains("nvidia/cuda:") && !raw.contains("pytorch/pytorch:") {
        return;
    }
    if let Some(found) = IMAGE.find(raw) {
        let image = found.as_str().trim_end_matches('.');
        draft.see("image", image);
        if let Some((_, tag)) = image.split_once("pytorch/pytorch:")
            && let Some((torch, rest)) = tag.split_once("-cuda")
        {
            let cuda = rest.split('-').next().and_then(|c| c.parse::<CudaVersion>().ok());
            draft.torch(Rank::Passing, torch);
            if let Some(cuda) = cuda {
                draft.torch_cuda(Rank::Passing, Some(cuda));
            }
        }
        draft.image.get_or_insert_with(|| image.to_owned());
    }
}

/// Variables that change what happens, where they are set, not where somebody is advised to set them.
fn variables(draft: &mut Draft<'_>, raw: &str) {
    const NAMES: &[&str] = &[
        "CUDA_VISIBLE_DEVICES",
        "NVIDIA_VISIBLE_DEVICES",
        "NVIDIA_DRIVER_CAPABILITIES",
        "NVIDIA_REQUIRE_CUDA",
        "NVIDIA_DISABLE_REQUIRE",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "CUDA_HOME",
        "TORCH_CUDA_ARCH_LIST",
        "BNB_CUDA_VERSION",
        "TRITON_PTXAS_PATH",
    ];
    let text = ["export ", "set ", "ENV ", "$ ", "declare -x "]
        .iter()
        .find_map(|start| raw.strip_prefix(start))
        .unwrap_or(raw);
    let text = ["docker run", "podman run"]
        .iter()
        .find_map(|command| raw.split_once(command))
        .and_then(|(_, rest)| {
            [" -e ", " --env ", " --env="].iter().find_map(|flag| rest.split_once(flag))
        })
        .map_or(text, |(_, rest)| rest);
    let Some((name, rest)) = text.split_once('=') else { return };
    if !NAMES.contains(&name) {
        return;
    }
    let value = match rest.chars().next() {
        Some(quote @ ('"' | '\'')) => rest[1..].split(quote).next().unwrap_or_default(),
        _ => rest.split(' ').next().unwrap_or_default(),
    };
    // Placeholders of a shell and of a manual are no values.
    if !value.contains(['$', '<', '%']) {
        draft.see(name, value);
        draft.env.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
}

/// Accelerators of other makers: what holds for CUDA does not hold there.
fn others(draft: &mut Draft<'_>, raw: &str) {
    for (word, name) in [
        ("npu-smi", "Ascend"),
        ("plugin ascend", "Ascend"),
        ("AscendCheck", "Ascend"),
        ("torch_npu", "Ascend"),
        ("vllm_ascend", "Ascend"),
        ("vllm-ascend", "Ascend"),
        ("rocm-smi", "ROCm"),
        ("+rocm", "ROCm"),
        ("+xpu", "XPU"),
        ("habana_frameworks", "Gaudi"),
        ("torch_xla", "XLA"),
        ("torch-neuronx", "Neuron"),
        ("torch_directml", "DirectML"),
    ] {
        if raw.contains(word) {
            draft.other(name);
        }
    }
}
