//! What nvidia-smi prints, in all its shapes: the table, `-L`, `-q`, `--query-gpu`, and its errors;
//! of this machine, or as somebody pasted it.
//!
//! The table cuts long names: `NVIDIA GeForce RTX 3060 ...` stays as it is, since nobody can tell from
//! it whether a `Ti` followed.

mod csv;
mod failures;
mod long;
mod table;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use aho_corasick::AhoCorasick;
use regex::Regex;

use super::{Answer, Device, Failure, Smi, child};
use crate::domain::{CudaVersion, DriverVersion};

/// One of these stands in every line that says by itself that it is of nvidia-smi; the rest of a log,
/// of any size, is passed over at once.
static TRACES: LazyLock<AhoCorasick> = LazyLock::new(|| {
    AhoCorasick::new([
        "NVIDIA-SMI",
        "nvidia-smi",
        "NVSMI LOG",
        "Volatile Uncorr. ECC",
        "(UUID: ",
        "No devices were found",
        "Failed to initialize NVML",
        "Unable to determine the device handle",
        "driver_version",
        "compute_cap",
        "memory.total",
        "memory.used",
        "pci.bus_id",
        "gpu_name",
    ])
    .expect("a list of texts")
});

/// Longer lines are none of nvidia-smi's, and may be hostile.
const LONGEST: usize = 2000;

/// `GPU 0: NVIDIA L4 (UUID: GPU-...)` and `  MIG 1g.10gb     Device  0: (UUID: MIG-...)`.
static LISTED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?:GPU (?<index>\d{1,3}): (?<name>\S.*?)|MIG (?<profile>\S+)\s+Device\s+\d+:) \(UUID: ",
    )
    .expect("a pattern")
});

/// Asks nvidia-smi, which is found on PATH or where WSL keeps it.
pub fn ask(deadline: Duration) -> Answer<Smi> {
    let run = |program| child::run(program, &["-q"], "", deadline);
    let ran = match run("nvidia-smi")
        .or_else(|err| run("/usr/lib/wsl/lib/nvidia-smi").map_err(|_| err))
    {
        Ok(ran) => ran,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
            return Answer::Absent("nvidia-smi is not on PATH".into());
        }
        Err(err) => return failed(err.raw_os_error(), &err.to_string()),
    };
    let Some(status) = ran.status else { return Answer::Hung("nvidia-smi -q".into()) };
    let said = format!("{}\n{}", ran.stdout, ran.stderr);
    match (read(&said), status.code()) {
        (Some(answer), _) => answer,
        (None, None) => Answer::Crashed(format!("{status} in nvidia-smi -q")),
        (None, code) => failed(code, said.trim().lines().next().unwrap_or("it said nothing")),
    }
}

/// Reads what nvidia-smi printed, alone or inside other text. `None`: nothing of it is there.
///
/// Of several outputs that name different drivers the last one counts, and one that tells anything
/// before one that failed: what failed is told by the text itself. An empty list of devices means
/// that none was in the text; a machine without any says `No devices were found`, which is a failure.
pub fn read(text: &str) -> Option<Answer<Smi>> {
    let first = TRACES.find(text);
    let alone = failures::alone(text);
    if first.is_none() && alone.is_none() {
        return None;
    }
    let start = text[..first.map_or(0, |m| m.start())].rfind('\n').map_or(0, |at| at + 1);
    let mut found = Found::default();
    let (mut table, mut long, mut csv) =
        (table::Table::default(), long::Long::default(), csv::Csv::default());
    let mut failure = alone;
    let mut lines = text[start..].lines().peekable();
    while let Some(line) = lines.next() {
        if line.len() > LONGEST {
            continue;
        }
        let line = plain(line);
        let trace = TRACES.is_match(line.as_ref());
        if trace && let Some(answer) = failures::line(&line, lines.peek().copied()) {
            failure = Some(answer);
        } else if trace && let Some(listed) = LISTED.captures(&line) {
            found.list(&listed);
        } else if !table.line(&line, trace, &mut found) && !csv.line(&line, trace, &mut found) {
            long.line(&line, &mut found);
        }
    }
    let mut smi = found.smi;
    smi.devices = found.devices.into_values().collect();
    if smi == Smi::default() { failure } else { Some(Answer::Told(smi)) }
}

/// A line without colours and the like.
fn plain(line: &str) -> Cow<'_, str> {
    if line.contains('\u{1b}') {
        Cow::Owned(anstream::adapter::strip_str(line).to_string())
    } else {
        Cow::Borrowed(line)
    }
}

fn failed(code: Option<i32>, text: &str) -> Answer<Smi> {
    Answer::Failed(failure(code, text))
}

fn failure(code: Option<i32>, text: &str) -> Failure {
    Failure { call: "nvidia-smi".into(), code, text: text.into() }
}

/// What has been read so far.
#[derive(Debug, Default)]
struct Found {
    smi: Smi,
    /// By nvidia-smi's number.
    devices: BTreeMap<u32, Device>,
    /// The card that `-L` named last: its instances follow.
    listed: u32,
}

impl Found {
    /// The heads of an output. One of another driver begins anew: it is of another machine, or of a
    /// later day.
    fn versions(
        &mut self,
        version: Option<DriverVersion>,
        driver: Option<DriverVersion>,
        cuda: Option<CudaVersion>,
    ) {
        if driver.is_some() && self.smi.driver.is_some() && self.smi.driver != driver {
            *self = Self::default();
        }
        self.smi.version = version.or(self.smi.version);
        self.smi.driver = driver.or(self.smi.driver);
        self.smi.cuda = cuda.or(self.smi.cuda);
    }

    fn device(&mut self, index: u32) -> &mut Device {
        self.devices.entry(index).or_default()
    }

    /// The number of the card at an address, or the next that is free.
    fn index_of(&self, address: &str) -> u32 {
        let known = self.devices.iter().find(|(_, d)| d.address.as_deref() == Some(address));
        known.map_or_else(|| self.next(), |(index, _)| *index)
    }

    fn next(&self) -> u32 {
        self.devices.last_key_value().map_or(0, |(index, _)| index + 1)
    }

    fn list(&mut self, listed: &regex::Captures<'_>) {
        if let Some(profile) = listed.name("profile") {
            let card = self.device(self.listed);
            card.mig = Some(true);
            card.mig_instances.push(profile.as_str().into());
        } else if let Ok(index) = listed["index"].parse() {
            self.listed = index;
            let card = self.device(index);
            card.name = listed["name"].into();
            // Listed again, or after a table, which knows no profiles.
            card.mig_instances.clear();
        }
    }
}

/// A size as it is printed: `81559MiB`, `81559 MiB`; in bytes. `N/A` and its like: `None`.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let number = text.strip_suffix("MiB").or_else(|| text.strip_suffix("MB"))?;
    number.trim().parse::<u64>().ok()?.checked_mul(1 << 20)
}

/// A compute mode as NVML's users know it; the table shortens two of them.
fn compute_mode(text: &str) -> Option<String> {
    match text.trim() {
        "Default" => Some("Default"),
        "Exclusive_Process" | "E. Process" => Some("Exclusive_Process"),
        "Exclusive_Thread" | "E. Thread" => Some("Exclusive_Thread"),
        "Prohibited" => Some("Prohibited"),
        _ => None,
    }
    .map(Into::into)
}

/// `Enabled` and `Disabled`, and what else nvidia-smi calls them; a change that waits is marked `*`.
fn on(text: &str) -> Option<bool> {
    match text.trim().trim_end_matches('*') {
        "Enabled" | "On" | "Yes" => Some(true),
        "Disabled" | "Off" | "No" => Some(false),
        _ => None,
    }
}

/// A program without its folder.
fn base(path: &str) -> Option<String> {
    let path = path.trim();
    // Folders of Windows have spaces, arguments elsewhere slashes.
    let name = match path.rsplit_once('\\') {
        Some((_, name)) => name,
        None => path.split_whitespace().next()?.rsplit('/').next()?,
    };
    let told = !path.starts_with('[') && !matches!(path, "N/A" | "-" | "Insufficient Permissions");
    told.then(|| name.to_owned())
}

#[cfg(test)]
mod tests;
