//! `nvidia-smi -q`: `key : value`, below headings, by indentation.

use std::sync::LazyLock;

use regex::Regex;

use super::{Found, base, bytes, compute_mode, on};
use crate::host::{Device, Process};

/// `GPU 00000000:01:00.0`, a heading on its own.
static CARD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^GPU ([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f])\s*$")
        .expect("a pattern")
});

#[derive(Debug, Default)]
pub(super) struct Long {
    inside: bool,
    card: Option<u32>,
    /// Headings above the line, with their indentation.
    headings: Vec<(usize, String)>,
    /// The process whose lines are being read only draws.
    draws: bool,
}

impl Long {
    pub(super) fn line(&mut self, line: &str, found: &mut Found) {
        if line.contains("=NVSMI LOG=") {
            *self = Self { inside: true, ..Self::default() };
            return;
        }
        if !self.inside {
            return;
        }
        if let Some(card) = CARD.captures(line) {
            let index = found.index_of(&card[1]);
            let device = found.device(index);
            *device = Device {
                name: std::mem::take(&mut device.name),
                address: Some(card[1].into()),
                ..Device::default()
            };
            self.card = Some(index);
            self.headings.clear();
            return;
        }
        let key = line.trim();
        if key.is_empty() {
            return;
        }
        let indent = line.len() - line.trim_start().len();
        if indent == 0 && self.card.is_some() {
            *self = Self::default();
            return;
        }
        while self.headings.last().is_some_and(|(above, _)| *above >= indent) {
            self.headings.pop();
        }
        match key.split_once(": ") {
            None => self.headings.push((indent, key.trim_end_matches(':').trim().into())),
            Some((key, value)) => {
                let (key, value) = (key.trim(), value.trim());
                match self.card {
                    None => head(key, value, found),
                    Some(index) => self.fact(key, value, found.device(index)),
                }
            }
        }
    }

    /// One of the headings above.
    fn below(&self, heading: &str) -> bool {
        self.headings.iter().any(|(_, name)| name == heading)
    }

    fn fact(&mut self, key: &str, value: &str, device: &mut Device) {
        let above = self.headings.last().map_or("", |(_, name)| name.as_str());
        match (above, key) {
            ("", "Product Name") if value != "Unknown Error" && value != "N/A" => {
                device.name = value.into();
            }
            ("", "Persistence Mode") => device.persistence = on(value),
            ("", "Compute Mode") => device.compute_mode = compute_mode(value),
            ("MIG Mode", "Current") => device.mig = on(value),
            ("ECC Mode" | "Ecc Mode", "Current") => device.ecc = on(value),
            ("Remapped Rows", "Pending") => device.remap_pending = on(value),
            ("Remapped Rows", "Remapping Failure Occurred") => device.remap_failed = on(value),
            ("FB Memory Usage", "Total") => device.memory_total = bytes(value),
            ("FB Memory Usage", "Used") => device.memory_used = bytes(value),
            ("Temperature", "GPU Current Temp") => {
                device.temperature = value.trim_end_matches('C').trim().parse().ok();
            }
            ("PCIe Generation" | "Link Width", _) => self.pcie(key, value, device),
            ("Fabric", "State") => device.fabric = fabric(value),
            ("Fabric", "Status") if !matches!(value, "Success" | "N/A") => {
                let complete = device.fabric.as_deref() == Some("completed");
                device.fabric = if complete { Some("failed".into()) } else { device.fabric.take() };
            }
            ("", "Processes") if value == "None" => device.processes = Some(Vec::new()),
            _ if self.below("Processes") => self.process(key, value, device),
            _ if value == "Active"
                && (self.below("Clocks Event Reasons")
                    || self.below("Clocks Throttle Reasons")) =>
            {
                device.throttled.push(reason(key));
            }
            // Newer drivers tell the kinds of memory apart, older ones single and double errors.
            _ if self.below("Volatile")
                && (key.contains("Uncorrectable") || (above, key) == ("Double Bit", "Total")) =>
            {
                let count: Option<u64> = value.parse().ok();
                let sum = device
                    .ecc_uncorrected
                    .unwrap_or_default()
                    .saturating_add(count.unwrap_or_default());
                device.ecc_uncorrected = count.map(|_| sum).or(device.ecc_uncorrected);
            }
            _ => (),
        }
    }

    /// Four numbers on four lines: all of them, or none.
    fn pcie(&self, key: &str, value: &str, device: &mut Device) {
        let width = self.below("Link Width");
        let at = match key {
            "Current" => usize::from(width),
            "Max" => 2 + usize::from(width),
            _ => return,
        };
        if let Ok(number) = value.trim_end_matches('x').parse() {
            device.pcie.get_or_insert_default()[at] = number;
        }
        // The last line of them.
        if (width, key) == (true, "Current") && device.pcie.is_some_and(|all| all.contains(&0)) {
            device.pcie = None;
        }
    }

    fn process(&mut self, key: &str, value: &str, device: &mut Device) {
        let list = device.processes.get_or_insert_default();
        match key {
            "Process ID" => {
                self.draws = false;
                list.extend(value.parse().ok().map(|pid| Process {
                    pid,
                    name: None,
                    memory: None,
                }));
            }
            "Type" if !value.contains('C') => {
                self.draws = true;
                list.pop();
            }
            _ if self.draws => (),
            "Name" => list.iter_mut().last().into_iter().for_each(|p| p.name = base(value)),
            "Used GPU Memory" => {
                list.iter_mut().last().into_iter().for_each(|p| p.memory = bytes(value));
            }
            _ => (),
        }
    }
}

/// A line above the cards. From 610 on the old keys repeat the new ones, with a remark behind.
fn head(key: &str, value: &str, found: &mut Found) {
    let value = value.split_whitespace().next().unwrap_or_default();
    match key {
        "Driver Version" | "KMD Version" => found.versions(None, value.parse().ok(), None),
        "CUDA Version" | "CUDA UMD Version" => found.versions(None, None, value.parse().ok()),
        _ => (),
    }
}

/// As NVML names it: `HW Thermal Slowdown` is `HW_THERMAL_SLOWDOWN`.
fn reason(key: &str) -> String {
    match key {
        "Idle" => "GPU_IDLE".into(),
        other => other.to_uppercase().replace(' ', "_"),
    }
}

fn fabric(value: &str) -> Option<String> {
    matches!(value, "Completed" | "In Progress" | "Not Started")
        .then(|| value.to_lowercase().replace(' ', "-"))
}
