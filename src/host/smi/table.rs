//! The table that nvidia-smi prints of its own accord.
//!
//! A card takes two lines, with MIG three; Windows, Jetson and old drivers fill the cells otherwise, and
//! the lines may stand behind the time stamps of a log. So it is cells that are told from each other, by
//! what stands in them, and not columns.

use std::sync::LazyLock;

use regex::Regex;

use super::{Found, base, bytes, compute_mode, failure, on};
use crate::host::Process;

/// `NVIDIA-SMI 550.54   Driver Version: 551.61   CUDA Version: 12.4`; from 610 on `KMD Version` and
/// `CUDA UMD Version`.
static BANNER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"NVIDIA-SMI\s+(\S+)\s+(?:Driver|KMD) Version:\s*(\S+)(?:\s+CUDA (?:UMD )?Version:\s*(\S+))?",
    )
    .expect("a pattern")
});

/// `  0  NVIDIA A100-SXM4-40GB          On  `: number, name, persistence or the driver's model.
static CARD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\s*(\d{1,3})\s+(\S.*?)\s+(On|Off|N/A|ERR!|WDDM|TCC|MCDM)\s*$").expect("a pattern")
});

static ADDRESS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\s*([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f])\s")
        .expect("a pattern")
});

/// `  0   N/A  N/A   1752   C   python   300MiB `: card, instances, process, type, name, memory.
static PROCESS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\s*(\d{1,3})\s+(?:(?:N/A|\d+)\s+(?:N/A|\d+)\s+)?(\d+)\s+([CGM+]+)\s+(\S.*?)\s+(\d+MiB|N/A)\s*$")
        .expect("a pattern")
});

/// `  1    3   0   0  `: card, GPU instance, compute instance, MIG device.
static INSTANCE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\s*(\d{1,3})\s+\d+\s+\d+\s+\d+\s*$").expect("a pattern"));

/// The part of the output that the lines belong to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    #[default]
    Outside,
    Cards,
    Instances,
    Processes,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    part: Part,
    /// The card whose lines are being read.
    card: Option<u32>,
}

impl Table {
    /// Reads a line, and whether it has a trace of nvidia-smi; false: it is none of the table.
    pub(super) fn line(&mut self, line: &str, trace: bool, found: &mut Found) -> bool {
        if trace && let Some(banner) = BANNER.captures(line) {
            let version = |at: usize| banner.get(at).map_or("", |m| m.as_str());
            found.versions(
                version(1).parse().ok(),
                version(2).parse().ok(),
                version(3).parse().ok(),
            );
            *self = Self { part: Part::Cards, card: None };
            return true;
        }
        if trace && line.contains("Volatile Uncorr. ECC") {
            self.part = Part::Cards;
            return true;
        }
        if !line.contains('|') {
            // A border, or the end.
            self.card = None;
            return false;
        }
        let cells: Vec<&str> = line.split('|').collect();
        if cells.iter().any(|cell| cell.trim().starts_with("MIG devices:")) {
            self.part = Part::Instances;
            let kept = |profile: &String| !profile.ends_with("MiB");
            found.devices.values_mut().for_each(|card| card.mig_instances.retain(kept));
        } else if cells.iter().any(|cell| {
            ["Processes:", "Compute processes:"].iter().any(|head| cell.trim().starts_with(head))
        }) {
            self.part = Part::Processes;
            found.devices.values_mut().for_each(|card| card.processes = Some(Vec::new()));
        } else {
            match self.part {
                Part::Instances => instance(&cells, found),
                Part::Processes => process(&cells, found),
                Part::Cards | Part::Outside => return self.card(&cells, found),
            }
        }
        true
    }

    /// A line about a card: name, address, ECC; then temperature, memory, mode; then MIG.
    fn card(&mut self, cells: &[&str], found: &mut Found) -> bool {
        let first = cells.iter().enumerate().find_map(|(at, cell)| {
            let card = CARD.captures(cell)?;
            let address = ADDRESS.captures(cells.get(at + 1)?).map(|m| m[1].to_owned());
            // A Jetson has none, and says so.
            let none = self.part == Part::Cards && cells[at + 1].trim().starts_with("N/A");
            (address.is_some() || none).then_some((at, card, address))
        });
        if let Some((at, card, address)) = first {
            let Ok(index) = card[1].parse() else { return false };
            self.card = Some(index);
            let device = found.device(index);
            if !matches!(&card[2], "ERR!" | "Unknown Error" | "N/A") {
                device.name = card[2].into();
            }
            device.address = address;
            device.persistence = on(&card[3]);
            // A number only where it counts; with MIG it says `On`.
            let ecc = cells.get(at + 2).map_or("", |cell| cell.trim());
            device.ecc_uncorrected = ecc.parse().ok();
            device.ecc = on(ecc).or(device.ecc_uncorrected.map(|_| true));
            return true;
        }
        let Some(index) = self.card else { return false };
        let device = found.device(index);
        let sizes =
            |cell: &str| cell.split_once('/').is_some_and(|(_, total)| bytes(total).is_some());
        if let Some(at) = cells.iter().position(|cell| sizes(cell)) {
            let mut sizes = cells[at].split('/').map(bytes);
            (device.memory_used, device.memory_total) =
                (sizes.next().flatten(), sizes.next().flatten());
            let state = at.checked_sub(1).map_or("", |at| cells[at]);
            let words: Vec<&str> = state.split_whitespace().collect();
            device.temperature = words.iter().find_map(|w| w.strip_suffix('C')?.parse().ok());
            // Fan and power may fail on a healthy card, all of them only on one that is gone.
            if let [_, "ERR!", "ERR!", ..] = words[..] {
                let words = "ERR! for temperature and performance state";
                device.failure = Some(failure(None, words));
            }
            // `  0%      Default`
            let mode = cells.get(at + 1).map_or("", |cell| cell.trim());
            let mode = mode.split_once(char::is_whitespace).map_or("", |(_, mode)| mode);
            device.compute_mode = compute_mode(mode);
        } else {
            // MIG, alone on its line; what stands before the first bar is of a log.
            let mut told = cells.iter().skip(1).filter(|cell| !cell.trim().is_empty());
            if let (Some(cell), None) = (told.next(), told.next()) {
                device.mig = on(cell).or(device.mig);
            }
        }
        true
    }
}

/// An instance has no profile in the table: its memory stands for it, unless `-L` told.
fn instance(cells: &[&str], found: &mut Found) {
    let at = cells.iter().position(|cell| INSTANCE.is_match(cell));
    if let Some((at, card)) = at.and_then(|at| Some((at, INSTANCE.captures(cells[at])?)))
        && let Ok(index) = card[1].parse()
        && let Some(size) = cells.get(at + 1).and_then(|cell| cell.split('/').nth(1))
    {
        let list = &mut found.device(index).mig_instances;
        if list.iter().all(|instance| instance.ends_with("MiB")) {
            list.push(size.trim().into());
        }
    }
}

fn process(cells: &[&str], found: &mut Found) {
    for cell in cells {
        if cell.contains("Not Supported") {
            let index = cell.split_whitespace().next().and_then(|word| word.parse().ok());
            if let Some(device) = index.and_then(|index: u32| found.devices.get_mut(&index)) {
                device.processes = None;
            }
        } else if let Some(row) = PROCESS.captures(cell)
            // Others draw, and do not compute.
            && row[3].contains('C')
            && let (Ok(index), Ok(pid)) = (row[1].parse(), row[2].parse())
        {
            let process = Process { pid, name: base(&row[4]), memory: bytes(&row[5]) };
            found.device(index).processes.get_or_insert_default().push(process);
        }
    }
}
