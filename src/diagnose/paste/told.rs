//! Sentences of torch, nvcc, pip and others that carry versions: each is known by a fixed part.

use std::sync::LazyLock;

use regex::Regex;

use super::{Asked, Draft, Rank};
use crate::domain::{CodeTarget, ComputeCapability, CudaVersion, WheelVariant, normalise_name};

/// Takes a line, with the lines after it where a terminal or the sentence goes on. Whether it is one of
/// these sentences.
pub(super) fn line<'l, I: Iterator<Item = &'l str>>(
    draft: &mut Draft<'_>,
    body: &'l str,
    next: impl Fn() -> I,
) -> bool {
    let wide = || std::iter::once(body).chain(next()).collect::<Vec<_>>().join(" ");
    if let Some((before, after)) = split(body, " with CUDA capability sm_") {
        card(draft, before, &format!("sm_{}", leading_digits(after)));
    } else if let Some((before, after)) = split(body, " which is of c") {
        // `Found GPU0 Tesla K40c which is of cuda capability 3.5.`; newer: `compute capability (CC) 6.1`.
        let name = before.split_once("Found GPU").map_or(before, |(_, rest)| rest);
        let number = after.find(|c: char| c.is_ascii_digit()).map_or("", |at| &after[at..]);
        let number = number.trim_end_matches('.').split(' ').next().unwrap_or_default();
        card(
            draft,
            name.trim_start_matches(|c: char| c.is_ascii_digit()),
            number.trim_end_matches(['.', ',']),
        );
    } else if let Some((_, after)) = split(body, "supports CUDA capabilities") {
        let text =
            if after.contains("sm_") { wide() } else { next().collect::<Vec<_>>().join(" ") };
        let list = text.split("supports CUDA capabilities").last().unwrap_or_default();
        arch_words(draft, list);
    } else if body.starts_with("- ") && body.contains(" which supports hardware CC ") {
        let target = body[2..].split(' ').next().and_then(|v| v.parse::<ComputeCapability>().ok());
        if let Some(target) =
            target.and_then(|c| format!("sm_{}{}", c.major, c.minor).parse::<CodeTarget>().ok())
        {
            let mut list = draft.here().arch_list.get().cloned().unwrap_or_default();
            list.push(target);
            draft.here().arch_list = super::Slot(Some((Rank::Replied, list)));
        }
    } else if let Some((_, after)) = split(body, "found version ") {
        thousands(draft, after);
    } else if let Some((_, after)) = split(body, "Cuda compilation tools, release ") {
        if let Ok(cuda) = after.split(',').next().unwrap_or_default().trim().parse() {
            draft.toolkit(Rank::Replied, "nvcc", cuda);
        }
    } else if body.contains("The detected CUDA version (") {
        detected(draft, &wide());
    } else if body.contains("(you have ") && body.contains("PyTorch ") {
        // `PyTorch 2.2.1+cu118 with CUDA 1108 (you have 2.2.2+cu121)`: of xformers.
        let version = have(body);
        draft.torch(Rank::Replied, version);
        draft.misfit("xformers");
    } else if body.trim_start().starts_with("Python ") && body.contains("(you have ") {
        let version = have(body);
        draft.python(Rank::Replied, version);
    } else if body.contains("requirement torch") || body.contains("found for torch") {
        asked(draft, &wide());
    } else if body.contains("no version of torch") || body.contains("has no wheels with a matching")
    {
        asked_of_uv(draft, &wide());
    } else if let Some((_, after)) = split(body, "PyTorch has CUDA Version=") {
        // `PyTorch has CUDA Version=13.0 and torchvision has CUDA Version=12.8.`
        let cuda = after.split(' ').next().and_then(|text| text.parse::<CudaVersion>().ok());
        if let Some(cuda) = cuda {
            draft.torch_cuda(Rank::Replied, Some(cuda));
        }
        let other = body.split(" and ").nth(1).and_then(|rest| rest.split(' ').next());
        draft.misfit(&normalise_name(other.unwrap_or("torchvision")));
    } else if body.contains("torchvision::nms") {
        draft.misfit("torchvision");
    } else if let Some((_, after)) = split(body, "libbitsandbytes_cuda") {
        // It looks for the library of torch's CUDA, unless a variable names another.
        draft.misfit("bitsandbytes");
        let build = format!("cu{}", leading_digits(after)).parse().ok();
        if let Some(cuda) = build.and_then(WheelVariant::cuda) {
            draft.torch_cuda(Rank::Asked, Some(cuda));
        }
    } else if let Some((_, after)) = split(body, "gcc versions later than ") {
        let newest = leading_digits(after);
        draft.see("newest gcc for nvcc", newest);
        draft.said.gcc_max.get_or_insert_with(|| newest.to_owned());
    } else if let Some((_, after)) = split(body, "PyTorch settings found: CUDA_VERSION=") {
        // bitsandbytes: `CUDA_VERSION=124, Highest Compute Capability: 8.9.`
        let build = format!("cu{}", leading_digits(after)).parse().ok();
        if let Some(cuda) = build.and_then(WheelVariant::cuda) {
            draft.torch_cuda(Rank::Replied, Some(cuda));
        }
    } else {
        return false;
    }
    true
}

/// The driver's CUDA as one number: `11040` is 11.4.
pub(super) fn thousands(draft: &mut Draft<'_>, text: &str) {
    let number = leading_digits(text).parse::<u16>().ok();
    if let Some(number) = number.filter(|n| (9000..30000).contains(n)) {
        draft.driver_cuda(Rank::Replied, CudaVersion::new(number / 1000, number % 1000 / 10));
    }
}

fn split<'t>(text: &'t str, part: &str) -> Option<(&'t str, &'t str)> {
    text.split_once(part)
}

fn leading_digits(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())]
}

/// A card that torch names in a warning, with its capability.
fn card(draft: &mut Draft<'_>, name: &str, capability: &str) {
    // What stands before it on the line is of the logger.
    let name = ["Warning: ", "WARNING: ", "] "]
        .iter()
        .fold(name, |n, part| n.rsplit(part).next().unwrap_or(n));
    let name = name.trim();
    let Ok(capability) = capability.parse::<ComputeCapability>() else { return };
    // The name may stand on the line before.
    let name = if name.is_empty() || name.len() > 60 { "NVIDIA GPU" } else { name };
    if let Some(device) = draft.device(Rank::Replied, name, None) {
        device.capability = Some(capability);
    }
    draft.see("capability", &capability.to_string());
}

/// `sm_50 sm_60 compute_90.`, up to the first other word.
pub(super) fn arch_words(draft: &mut Draft<'_>, text: &str) {
    let mut list: Vec<CodeTarget> = Vec::new();
    for word in text.split([' ', ',', '\'', '"', '[', ']']).filter(|w| !w.is_empty()) {
        match word.trim_end_matches('.').parse::<CodeTarget>() {
            Ok(target) if !list.contains(&target) => list.push(target),
            Ok(_) => (),
            Err(_) => break,
        }
    }
    draft.arch_list(Rank::Replied, list);
}

/// `The detected CUDA version (12.4) mismatches the version that was used to compile PyTorch (11.8)`.
fn detected(draft: &mut Draft<'_>, text: &str) {
    let mut numbers = text.split('(').skip(1).filter_map(|part| {
        part.split(')').next().unwrap_or_default().trim().parse::<CudaVersion>().ok()
    });
    if let Some(nvcc) = numbers.next() {
        draft.toolkit(Rank::Replied, "nvcc", nvcc);
        if let Some(cuda) = numbers.next() {
            draft.torch_cuda(Rank::Replied, Some(cuda));
        }
    }
}

/// `(you have 2.2.2+cu121)`
fn have(body: &str) -> &str {
    let text = body.split("(you have ").nth(1).unwrap_or_default();
    text.split(')').next().unwrap_or_default()
}

/// What pip says it did not find, and the versions that it saw.
fn asked(draft: &mut Draft<'_>, text: &str) {
    static ASKED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?:requirement|found for) (torch[a-z]*)(?:==([0-9][0-9A-Za-z.+]*)|$| \(from)")
            .expect("a pattern")
    });
    if let Some(found) = ASKED.captures(text) {
        put_asked(draft, &found[1], found.get(2).map_or("", |version| version.as_str()));
    }
    let Some((_, list)) = text.split_once("(from versions: ") else { return };
    let list = list.split(')').next().unwrap_or_default();
    draft.said.offered = list
        .split(',')
        .map(str::trim)
        .filter(|v| v.starts_with(|c: char| c.is_ascii_digit()))
        .map(str::to_owned)
        .collect();
}

/// The same of uv, in its sentences.
fn asked_of_uv(draft: &mut Draft<'_>, text: &str) {
    static ASKED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(torch[a-z]*)==([0-9][0-9A-Za-z.+]*)(?: has no wheels| and|,| we|$)?")
            .expect("a pattern")
    });
    if let Some(found) = ASKED.captures(text) {
        put_asked(draft, &found[1], &found[2]);
    }
    // `matching Python ABI tag (e.g., `cp312`)` names the Python at hand.
    if let Some(tag) = text.split("(e.g., `cp3").nth(1) {
        let minor = leading_digits(tag);
        draft.python(Rank::Asked, &format!("3.{minor}"));
    }
}

fn put_asked(draft: &mut Draft<'_>, name: &str, version: &str) {
    let version = version.trim_end_matches('.');
    let asked = Asked { name: normalise_name(name), version: version.to_owned(), line: draft.line };
    let known = |a: &Asked| a.name == asked.name && a.version == asked.version;
    if draft.said.asked.len() < super::MOST && !draft.said.asked.iter().any(known) {
        draft.see("asked for", format!("{name}=={version}").trim_end_matches('='));
        draft.said.asked.push(asked);
    }
}
