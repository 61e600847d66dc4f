//! What nvidia-smi says when it fails, and what a shell says when there is none.

use super::{Answer, Smi, failed, plain};

/// NVML's words that nvidia-smi repeats, with their `nvmlReturn_t`.
const WORDS: &[(&str, i32)] = &[
    ("Insufficient Permissions", 4),
    ("Driver Not Loaded", 9),
    ("GPU is lost", 15),
    ("GPU requires reset", 16),
    ("GPU access blocked by the operating system", 17),
    ("Driver/library version mismatch", 18),
    ("Unknown Error", 999),
];

/// What shells and programs say of a program that is not there, after or before its name.
const MISSING: &[&str] = &[
    "nvidia-smi: command not found",
    "nvidia-smi: not found",
    "nvidia-smi: No such file or directory",
    "command not found: nvidia-smi",
    "Command 'nvidia-smi' not found",
    "no nvidia-smi in (",
    "\"nvidia-smi\": executable file not found",
    "No such file or directory: 'nvidia-smi'",
    "'nvidia-smi' is not recognized",
];

/// The number that belongs to NVML's words, of which the line is the beginning.
pub(super) fn number(words: &str) -> Option<i32> {
    WORDS.iter().find(|(known, _)| words.starts_with(known)).map(|(_, code)| *code)
}

/// A text that is nothing but two words of NVML, which inside a log could be anybody's.
pub(super) fn alone(text: &str) -> Option<Answer<Smi>> {
    let text = text.trim();
    let known = WORDS.iter().find(|(words, _)| *words == text);
    known.map(|(words, code)| failed(Some(*code), words))
}

/// A line that tells of a failure; the next one may hold its other half.
pub(super) fn line(line: &str, next: Option<&str>) -> Option<Answer<Smi>> {
    if let Some(at) = line.find("NVIDIA-SMI has failed because it couldn't communicate") {
        let words = line[at..].split(". ").next().unwrap_or_default();
        return Some(failed(Some(9), words.trim()));
    }
    if line.contains("NVIDIA-SMI couldn't find libnvidia-ml.so") {
        return Some(failed(Some(12), "it could not find libnvidia-ml.so"));
    }
    if let Some((_, words)) = line.split_once("Failed to initialize NVML: ") {
        let mut words = words.trim().to_owned();
        let code = number(&words);
        let version = next.map(plain);
        if let Some((_, version)) =
            version.as_deref().and_then(|next| next.split_once("NVML library version: "))
        {
            words = format!("{words}; NVML library version: {}", version.trim());
        }
        return Some(failed(code, &words));
    }
    if let Some(at) = line.find("Unable to determine the device handle for") {
        let words = line[at..].trim();
        // The address has colons of its own, and no space after them.
        let code = words.split(": ").find_map(number);
        return Some(failed(code, words));
    }
    // Other tools count devices as well; nvidia-smi says nothing else.
    if line.trim().trim_matches('"') == "No devices were found" {
        return Some(failed(Some(6), "No devices were found"));
    }
    let missing = MISSING.iter().any(|words| line.contains(words));
    missing.then(|| Answer::Absent(line.trim().into()))
}
