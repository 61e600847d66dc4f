//! Lists of packages and the talk of installers: pip, uv, conda.

use super::{Draft, Rank};
use crate::domain::{Platform, PythonTag, WheelVariant, normalise_name};

/// Reads a line.
pub(super) fn line(draft: &mut Draft<'_>, raw: &str, body: &str) {
    indexes(draft, raw);
    if let Some(list) = after(body, "Successfully installed ") {
        for word in list.split_whitespace() {
            if let Some((name, version)) = name_dash_version(word) {
                put(draft, Rank::Listed, name, version);
            }
        }
        return;
    }
    if raw.contains(".whl") && wheel(draft, raw, body) {
        return;
    }
    if let Some(rest) = after(body, "Requirement already satisfied: ") {
        // `torch==2.0 in /path (from x) (2.0.1+cu118)`
        let name = rest.split(|c: char| !is_name(c)).next().unwrap_or_default();
        let version = rest.rsplit('(').next().unwrap_or_default().trim_end_matches(')');
        if rest.contains(" in ") && !version.starts_with("from") {
            put(draft, Rank::Listed, name, version);
        }
        return;
    }
    if let Some(rest) = after(body, "Found existing installation: ") {
        if let Some((name, version)) = rest.split_once(' ') {
            put(draft, Rank::Asked, name, version.trim());
        }
        return;
    }
    // What uv adds; what it takes away says nothing of what is there.
    if body.starts_with("- ") && body.contains("==") && raw.starts_with('-') {
        return;
    }
    let text = body.trim_start_matches(['+', '~', '*', ' ']);
    if let Some((name, rest)) = text.split_once("==")
        && name.chars().all(is_name)
    {
        let version = rest.split([' ', ';', ',', '\\']).next().unwrap_or_default();
        // What goes on like a sentence is one, and a list of several is a command's.
        let more = rest[version.len()..].trim_start();
        let alone = more.is_empty() || more.starts_with([';', '\\', '#', '-', '/', '(']);
        let rank = match raw.contains("[pip") {
            true => Rank::Replied,
            false if alone => Rank::Listed,
            false => Rank::Asked,
        };
        put(draft, rank, name, version);
    } else if let Some((name, rest)) = text.split_once(" @ ")
        && name.chars().all(is_name)
        && rest.contains(".whl")
    {
        wheel(draft, rest, body);
    } else if text.contains("==") {
        // A command, or a sentence: what somebody asked for.
        let clean = |word: &str| word.trim_matches(['\'', '"', '`', ',', '(', ')']).to_owned();
        for word in text.split_whitespace().filter(|w| w.contains("==")).take(16).map(clean) {
            if let Some((name, version)) = word.split_once("==") {
                put(draft, Rank::Asked, name, version);
            }
        }
    } else {
        columns(draft, raw, text);
    }
}

fn after<'t>(body: &'t str, start: &str) -> Option<&'t str> {
    body.split_once(start).map(|(_, rest)| rest)
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// `torch-2.5.1+cu124`
fn name_dash_version(word: &str) -> Option<(&str, &str)> {
    word.rmatch_indices('-')
        .map(|(at, _)| (&word[..at], &word[at + 1..]))
        .find(|(_, version)| version.starts_with(|c: char| c.is_ascii_digit()))
}

/// Packages of which something can be said.
fn put(draft: &mut Draft<'_>, rank: Rank, name: &str, version: &str) {
    let name = normalise_name(name.split('[').next().unwrap_or_default());
    let version = version.trim_end_matches(['.', ',']);
    match name.as_str() {
        "torch-npu" => draft.other("Ascend"),
        "torch-directml" => draft.other("DirectML"),
        "torch-xla" => draft.other("XLA"),
        _ => (),
    }
    let matters = name == "torch"
        || name.starts_with("nvidia-")
        || matches!(name.as_str(), "pytorch-triton" | "onnxruntime-gpu" | "sglang" | "deepspeed")
        || !draft.matrix.companions(&name).is_empty()
        || draft.matrix.companion_rules.iter().any(|rule| rule.package == name);
    if matters {
        draft.package(rank, &name, version);
    }
}

/// `torch   2.6.0+cu124` of pip, `pytorch 2.1.0 py3.10_cuda12.1_cudnn8.9.2_0 pytorch` of conda.
fn columns(draft: &mut Draft<'_>, raw: &str, text: &str) {
    let mut words = text.split_whitespace();
    let (Some(name), Some(version)) = (words.next(), words.next()) else { return };
    // `torch 2.0.0, vllm 0.2.2`
    if version.ends_with(',') {
        for pair in text.split(',').take(16) {
            let mut words = pair.split_whitespace();
            if let (Some(name), Some(version), None) = (words.next(), words.next(), words.next()) {
                put(draft, Rank::Listed, name, version);
            }
        }
        return;
    }
    if !name.chars().all(is_name) || !version.starts_with(|c: char| c.is_ascii_digit()) {
        return;
    }
    let (build, channel, more) = (words.next(), words.next(), words.next());
    if more.is_some() {
        return;
    }
    let of_block = raw.contains("[conda]");
    let rank = if of_block { Rank::Replied } else { Rank::Listed };
    match (name, build) {
        ("pytorch", Some(build)) => {
            let variant = conda_build(build);
            if variant.is_none() && channel.is_none() {
                return;
            }
            // Beside a torch of pip in the same block, conda's line is the same package again.
            draft.torch(if of_block { Rank::Listed } else { rank }, version);
            draft.here().conda = true;
            if let Some(variant) = variant {
                draft.torch_cuda(rank, variant.cuda());
            }
            let python = build.strip_prefix("py").and_then(|b| b.split('_').next());
            if let Some(python) = python.filter(|p| p.starts_with("3.")) {
                draft.python(Rank::Listed, python);
            }
        }
        // Further columns are conda's build, which has a digit, or the folder of a package that is edited
        // in place.
        _ if build.is_none_or(|b| b.starts_with('/') || b.bytes().any(|b| b.is_ascii_digit())) => {
            put(draft, rank, name, version);
        }
        _ => (),
    }
}

/// What the build string of a conda package says of CUDA.
fn conda_build(build: &str) -> Option<WheelVariant> {
    let words = || build.split('_');
    if words().any(|word| word == "cpu" || word.starts_with("cpuonly")) {
        return Some(WheelVariant::Cpu);
    }
    words().find_map(|word| {
        let rest = word.strip_prefix("cuda")?;
        if rest.contains('.') {
            return rest.parse().ok().and_then(WheelVariant::of_cuda);
        }
        // conda-forge writes `cuda120py310h...`.
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        format!("cu{digits}").parse().ok()
    })
}

/// A wheel that an installer fetched or refused. Its tags are those of the machine only where it was fetched.
fn wheel(draft: &mut Draft<'_>, raw: &str, body: &str) -> bool {
    let Some(end) = raw.find(".whl") else { return false };
    let start = raw[..end].rfind(['/', ' ', '\'', '"', '=', '(', '\\']).map_or(0, |at| at + 1);
    let file = raw[start..end].replace("%2B", "+").replace("%2b", "+");
    let parts: Vec<&str> = file.split('-').collect();
    let [name, version, .., python, _, platform] = parts.as_slice() else { return false };
    let fetched = ["Downloading ", "Using cached ", "Obtaining ", "Installing "]
        .iter()
        .any(|word| body.starts_with(word));
    put(draft, Rank::Asked, name, version);
    if fetched {
        if let Some(platform) = tag(platform) {
            draft.platform(Rank::Asked, platform);
        }
        if let Ok(PythonTag::CPython { minor, free_threaded: false }) = python.parse() {
            draft.python(Rank::Asked, &format!("3.{minor}"));
        }
    }
    true
}

/// The platform of a wheel's tag.
fn tag(tag: &str) -> Option<Platform> {
    if tag.contains("linux") {
        return match tag {
            _ if tag.ends_with("x86_64") => Some(Platform::LinuxAmd64),
            _ if tag.ends_with("aarch64") => Some(Platform::LinuxArm64),
            _ => None,
        };
    }
    match tag {
        "win_amd64" => Some(Platform::WindowsAmd64),
        _ if tag.starts_with("macosx") && tag.ends_with("arm64") => Some(Platform::MacosArm64),
        _ => None,
    }
}

/// Indexes that pip or uv was told.
fn indexes(draft: &mut Draft<'_>, raw: &str) {
    if !raw.contains("http") {
        return;
    }
    let told = [
        "--index-url",
        "--extra-index-url",
        "--find-links",
        "Looking in indexes:",
        "Looking in links:",
        "pip install",
        "-i http",
    ];
    if !told.iter().any(|word| raw.contains(word)) {
        return;
    }
    for word in raw.split([' ', ',', '=']).filter(|word| word.starts_with("http")).take(8) {
        // Credentials are no part of what is kept.
        let url = word.trim_end_matches(['"', '\'', ';', ')']);
        let plain = match url.split_once("://") {
            Some((scheme, rest)) => match rest.split_once('@') {
                Some((_, host)) => format!("{scheme}://{host}"),
                None => url.to_owned(),
            },
            None => continue,
        };
        if draft.said.indexes.len() < 16 && !draft.said.indexes.contains(&plain) {
            draft.said.indexes.push(plain);
        }
    }
}
