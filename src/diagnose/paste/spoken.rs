//! What a sentence tells: people name torch, card, driver and system in the middle of a line.

use std::sync::LazyLock;

use regex::Regex;

use super::{Draft, Rank};
use crate::domain::{Glibc, Platform};

/// A version of torch with the label of its build, wherever it stands.
static LABELLED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?i)(?:\b(?:py)?torch(?:\.__version__)?\b[\s:=|*()-]{1,4}(?:version\s*:?\s*)?|\byours is )v?(\d+\.\d+\.\d+\+(?:cu\d+|cpu|rocm[\d.]*\d))(?:[^-\w.]|[.]?\s|[.]?$)",
    )
    .expect("a pattern")
});

/// Reads a line.
pub(super) fn line(draft: &mut Draft<'_>, raw: &str) {
    torch(draft, raw);
    printed(draft, raw);
    driver(draft, raw);
    system(draft, raw);
    makers(draft, raw);
    extension(draft, raw);
    replaced(draft, raw);
}

/// Whether the words before a version say that it is not the one at hand.
fn elsewhere(before: &str) -> bool {
    const WORDS: &[&str] = &[
        "requires",
        "require",
        "built for",
        "built with",
        "compiled with",
        "compiled for",
        "compiled against",
        "trained with",
        "instead of",
        "install",
        "uninstalling",
        "need",
        "needs",
        "upgrade to",
        "upgraded from",
        "downgrade to",
        "worked with",
        "works with",
        "works on",
        "worked on",
        "existing installation",
        "tried",
        "not",
        "than",
        "until",
    ];
    let before = before.to_ascii_lowercase();
    let before = before.trim_end_matches([' ', '`', '"', '\'', '=']);
    // Some words may stand between: `built with PyTorch`.
    let clause = before.rsplit([',', ';', '(']).next().unwrap_or_default();
    WORDS.iter().any(|word| {
        clause.rfind(word).is_some_and(|at| {
            let left = !clause[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
            left && clause[at + word.len()..].split_whitespace().count() <= 2
        })
    })
}

/// `- torch 2.6.0+cu124`, `using torch version 2.6.0+cu124`, `Python-3.12.7 torch-2.5.1+cpu CPU`.
fn torch(draft: &mut Draft<'_>, raw: &str) {
    static INSTALLED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"but you have torch (\d+\.\d+\.\d+(?:\+\w+)?)").expect("a pattern")
    });
    static PLAIN: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)\b(?:py)?torch (?:version )?v?(\d+\.\d+\.\d+)(?:[,;)]|[.]?\s|[.]?$)")
            .expect("a pattern")
    });
    if !raw.contains("orch") && !raw.contains("ours is ") {
        return;
    }
    if let Some(found) = INSTALLED.captures(raw) {
        draft.torch(Rank::Replied, &found[1]);
        return;
    }
    // Commands ask; what they ask for is read with the packages.
    if ["(you have ", "pip install", "pip3 install", "uv add", "uv pip", "conda install", "http"]
        .iter()
        .any(|word| raw.contains(word))
    {
        return;
    }
    for found in LABELLED.captures_iter(raw).take(4) {
        let whole = found.get(0).expect("the match itself");
        let asked = whole.as_str().contains("==");
        if !asked && !elsewhere(&raw[..whole.start()]) {
            draft.torch(Rank::Spoken, &found[1]);
        }
    }
    if let Some(found) = PLAIN.captures(raw) {
        let start = found.get(0).map_or(0, |whole| whole.start());
        if !elsewhere(&raw[..start]) {
            draft.torch(Rank::Passing, &found[1]);
        }
    }
}

/// `2.8.0+cu128 True NVIDIA GeForce RTX 5090`: several things printed at once.
fn printed(draft: &mut Draft<'_>, raw: &str) {
    static PRINTED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"^(\d+\.\d+\.\d+\+(?:cu\d+|cpu))(?: (?:\d+\.\d+|None))? (True|False)(?: (.{3,60}))?$",
        )
        .expect("a pattern")
    });
    let Some(found) = PRINTED.captures(raw) else { return };
    draft.torch(Rank::Replied, &found[1]);
    draft.available(Rank::Replied, &found[2] == "True");
    if let Some(name) = found.get(3).map(|name| name.as_str().trim())
        && draft.is_card(name)
    {
        draft.device(Rank::Replied, name, None);
    }
}

/// Whether a line that names a card tells of the machine at hand.
pub(super) fn own_card(raw: &str) -> bool {
    const OTHERS: &[&str] = &[
        "buy",
        "plan",
        "another",
        "works",
        "worked",
        "fine",
        "would",
        "colleague",
        "instead",
        "previous",
        "upgrade",
        "friend",
        "other machine",
        "e.g.",
        "such as",
        "support",
        "trained",
        "return",
        "?",
        "http",
        "doesn't have",
        "while",
        "either",
        "before",
    ];
    let lower = raw.to_ascii_lowercase();
    if OTHERS.iter().any(|word| lower.contains(word)) {
        return false;
    }
    LABELLED.is_match(raw)
        || DRIVER.is_match(raw)
        || ["gpu:", "card:", "gpu is", "card is", "my rtx", "my gtx", "(nvidia ", "gpu | "]
            .iter()
            .any(|word| lower.contains(word))
}

static DRIVER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\bdriver(?: version)?[ :=v]+([3-9][0-9]{2}(?:\.[0-9]{2,3}(?:\.[0-9]{2})?)?)\b")
        .expect("a pattern")
});

/// `driver 555`, `modinfo nvidia`, a line of dpkg.
fn driver(draft: &mut Draft<'_>, raw: &str) {
    static PACKAGE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^ii\s+nvidia-(?:driver|kernel-(?:common|source)|utils|dkms)-\d{3}\S*\s+(\d{3}\.\d{2,3}(?:\.\d{2})?)-")
            .expect("a pattern")
    });
    if raw.starts_with("filename:") && raw.contains("nvidia.ko") || raw.contains("modinfo nvidia") {
        draft.driver_line = draft.line;
    } else if let Some(rest) = raw.strip_prefix("version:")
        && draft.driver_line > 0
        && draft.line.wrapping_sub(draft.driver_line) < 4
    {
        draft.driver(Rank::Asked, rest.trim());
    } else if let Some(found) = PACKAGE.captures(raw) {
        draft.driver(Rank::Asked, &found[1]);
    } else if raw.contains("river")
        && let Some(found) = DRIVER.captures(raw)
        && !found[1].contains('.')
        && !elsewhere(&raw[..found.get(0).map_or(0, |whole| whole.start())])
        // `driver 570 or newer` asks for one; `driver 555 MB` is none.
        && draft.driver.get().is_none()
        && raw[found.get(0).map_or(0, |whole| whole.end())..]
            .trim_start()
            .chars()
            .next()
            .is_none_or(|c| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '.' | '-'))
        && let Ok(driver) = found[1].parse()
    {
        draft.see("driver", &found[1]);
        draft.driver.put(Rank::Passing, driver);
    }
}

/// `Windows 11`, `macOS 14.5`, `uname -m`, `ldd (GNU libc) 2.17`, JetPack.
fn system(draft: &mut Draft<'_>, raw: &str) {
    static WINDOWS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)\bwin(?:dows)? ?1[01]\b|\bwin_amd64\b(?:[^.]|$)|^(?:\(\S+\) )?(?:PS )?[A-Za-z]:\\[^>]*>")
            .expect("a pattern")
    });
    static MAC: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\bmac ?OS \d|\bMacBook|\bApple M[1-9]\b|\bMac (?:mini|Studio)\b")
            .expect("a pattern")
    });
    static JETSON: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?i)\b(?:jetson|jetpack|l4t|nv_tegra_release|orin|xavier)\b|\btegra\b|R3\d \(release\)",
        )
        .expect("a pattern")
    });
    static LDD: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^(?:\$ )?ldd \((?:GNU libc|.*GLIBC.*)\) (\d\.\d+)$").expect("a pattern")
    });
    if WINDOWS.is_match(raw) {
        draft.platform(Rank::Passing, Platform::WindowsAmd64);
    }
    if MAC.is_match(raw) {
        draft.platform(Rank::Passing, Platform::MacosArm64);
    }
    if raw == "aarch64" || raw.contains("uname -m") && raw.contains("aarch64") {
        draft.platform(Rank::Replied, Platform::LinuxArm64);
    }
    let lower = raw.to_ascii_lowercase();
    if JETSON.is_match(raw)
        && !["non-tegra", "not a jetson", "no jetson"].iter().any(|w| lower.contains(w))
    {
        draft.jetson.put(Rank::Passing, "Jetson".into());
    }
    let glibc = LDD.captures(raw).map(|found| found[1].to_owned()).or_else(|| {
        // Kernels and images of this release have this C library.
        let old =
            lower.contains(".el7.") || lower.contains("centos7") || lower.contains("centos:7");
        old.then(|| "2.17".to_owned())
    });
    if let Some(glibc) = glibc.and_then(|text| text.parse::<Glibc>().ok()) {
        draft.see("glibc", &glibc.to_string());
        draft.glibc.put(Rank::Passing, glibc);
    }
}

/// Cards of other makers, which count only where none of NVIDIA's shows.
fn makers(draft: &mut Draft<'_>, raw: &str) {
    static AMD: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"AMD Radeon|\bRadeon RX\b|\bRX [67]\d00\b|\bgfx\d{3,4}\b|\bHIP error\b|\brocBLAS\b",
        )
        .expect("a pattern")
    });
    if AMD.is_match(raw) {
        draft.maker(super::AMD);
    }
    if raw.contains("Intel Arc") || raw.contains("Intel(R) Arc") {
        draft.maker(super::INTEL);
    }
}

/// A library beside torch that fails by itself: another torch is no cure that the text could tell.
fn extension(draft: &mut Draft<'_>, raw: &str) {
    const ALONE: &[(&str, &str)] = &[
        ("FlashAttention only supports", "flash-attn"),
        ("onnxruntime_pybind11", "onnxruntime"),
        ("[ONNXRuntimeError]", "onnxruntime"),
        ("onnxruntime:", "onnxruntime"),
        ("too old to be supported by the triton", "triton"),
        ("Triton only supports", "triton"),
    ];
    const LIBRARIES: &[&str] =
        &["bitsandbytes", "vllm", "flash_attn", "auto_gptq", "sageattention", "mmcv", "triton"];
    draft.said.ptx |= raw.contains("PTX was compiled with an unsupported toolchain")
        || raw.contains("UNSUPPORTED_PTX_VERSION");
    if let Some((_, name)) = ALONE.iter().find(|(text, _)| raw.contains(text)) {
        draft.said.alone.get_or_insert_with(|| (*name).to_owned());
    }
    let found = if raw.contains("/csrc/ops.cu") || raw.contains("ext_module.") {
        Some("the extension")
    } else if raw.contains("File \"") || raw.contains(".cu:") || raw.contains(".cu ") {
        LIBRARIES.iter().find(|name| raw.contains(&format!("/{name}/"))).copied()
    } else {
        None
    };
    if let Some(name) = found {
        draft.said.extension.get_or_insert_with(|| name.to_owned());
    }
}

/// `Found existing installation: torch A`, and later `Successfully installed torch-B`.
fn replaced(draft: &mut Draft<'_>, raw: &str) {
    if let Some((_, rest)) = raw.split_once("Found existing installation: torch ") {
        draft.before = Some(rest.trim().to_owned());
    } else if let Some((_, list)) = raw.split_once("Successfully installed ")
        && let Some(new) = list.split_whitespace().find_map(|word| word.strip_prefix("torch-"))
        && let Some(old) = draft.before.take()
        && old != new
    {
        let (old, new) = (crate::domain::shown(&old), crate::domain::shown(new));
        draft.said.replaced = Some(super::Replaced { old, new, line: draft.line });
    }
}
