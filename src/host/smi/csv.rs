//! `nvidia-smi --query-gpu=NAMES --format=csv`: columns named by a head, or by the command above it.

use super::{Found, bytes, compute_mode, failure, failures, on};

/// Columns that only nvidia-smi has: without one of them a head is somebody else's.
const OURS: &[&str] =
    &["driver_version", "compute_cap", "memory.total", "memory.used", "pci.bus_id", "gpu_name"];

/// How names begin: without a head, and below a command, a row could be any line.
const BRANDS: &[&str] = &["NVIDIA ", "Tesla ", "GeForce ", "Quadro ", "TITAN ", "GRID ", "Orin"];

#[derive(Debug, Default)]
pub(super) struct Csv {
    columns: Vec<String>,
    row: u32,
}

impl Csv {
    /// Reads a line, and whether it has a trace of nvidia-smi; false: it is none of a query.
    pub(super) fn line(&mut self, line: &str, trace: bool, found: &mut Found) -> bool {
        if !trace && self.columns.is_empty() {
            return false;
        }
        if trace && let Some((_, asked)) = line.split_once("--query-gpu") {
            let asked = asked.trim_start_matches(['=', ' ', '"', '\'']);
            let end = asked.find([' ', '"', '\'', ')', '`', ']']).unwrap_or(asked.len());
            self.columns = asked[..end].split(',').map(Into::into).collect();
            self.row = 0;
            return true;
        }
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        // `memory.total [MiB]`
        let names: Vec<&str> =
            cells.iter().map(|cell| cell.split(" [").next().unwrap_or(cell)).collect();
        let is_name = |n: &&str| {
            !n.is_empty() && n.chars().all(|c| c.is_ascii_lowercase() || "._".contains(c))
        };
        if names.iter().all(is_name) && names.iter().any(|name| OURS.contains(name)) {
            self.columns = names.into_iter().map(Into::into).collect();
            self.row = 0;
            return true;
        }
        if self.columns.is_empty() || cells.len() != self.columns.len() {
            self.columns.clear();
            return false;
        }
        let columns = std::mem::take(&mut self.columns);
        let known = self.cells(&columns, &cells, found);
        if known {
            self.row += 1;
            self.columns = columns;
        }
        known
    }

    /// Reads a row; false, and nothing is kept, where a cell is not what its column holds.
    fn cells(&self, columns: &[String], cells: &[&str], found: &mut Found) -> bool {
        let cell = |name: &str| {
            columns.iter().position(|c| c == name).map(|at| cells[at]).filter(|cell| {
                !cell.is_empty()
                    && *cell != "N/A"
                    && !(cell.starts_with('[') && cell.ends_with(']'))
            })
        };
        let driver = cell("driver_version").map(str::parse);
        let capability = cell("compute_cap").map(str::parse);
        let name = cell("name").or_else(|| cell("gpu_name"));
        // The words of an error stand where a value would.
        let lost = cells.iter().find_map(|cell| {
            let words = cell.strip_prefix('[')?.strip_suffix(']')?;
            Some((words, failures::number(words).filter(|code| matches!(code, 15 | 16))?))
        });
        // With `nounits` the head alone says what the numbers are.
        let size = |name: &str| {
            cell(name).and_then(|cell| bytes(cell).or_else(|| bytes(&format!("{cell}MiB"))))
        };
        let (total, used) = (size("memory.total"), size("memory.used"));
        let brand = |name: &str| BRANDS.iter().any(|brand| name.starts_with(brand));
        let refused = matches!(driver, Some(Err(_)))
            || matches!(capability, Some(Err(_)))
            || name.is_some_and(|name| !brand(name));
        let named = name.is_some_and(|name| name.contains(|c: char| c.is_ascii_digit()));
        let tells = driver.is_some() || capability.is_some() || lost.is_some();
        if refused || !(tells || named || total.or(used).is_some()) {
            return false;
        }
        if let Some(Ok(driver)) = driver {
            found.versions(None, Some(driver), None);
        }
        if driver.is_some() && columns.len() == 1 {
            return true;
        }
        let index = cell("index").and_then(|index| index.parse().ok()).unwrap_or(self.row);
        let device = found.device(index);
        if let Some(name) = name {
            device.name = name.into();
        }
        if let Some(Ok(capability)) = capability {
            device.capability = Some(capability);
        }
        let address = cell("pci.bus_id").or_else(|| cell("gpu_bus_id"));
        device.address = address.map(Into::into).or(device.address.take());
        device.memory_total = total.or(device.memory_total);
        device.memory_used = used.or(device.memory_used);
        device.compute_mode =
            cell("compute_mode").and_then(compute_mode).or(device.compute_mode.take());
        device.mig = cell("mig.mode.current").and_then(on).or(device.mig);
        device.persistence = cell("persistence_mode").and_then(on).or(device.persistence);
        device.ecc = cell("ecc.mode.current").and_then(on).or(device.ecc);
        let errors = cell("ecc.errors.uncorrected.volatile.total").and_then(|n| n.parse().ok());
        device.ecc_uncorrected = errors.or(device.ecc_uncorrected);
        device.temperature =
            cell("temperature.gpu").and_then(|n| n.parse().ok()).or(device.temperature);
        if let Some((words, code)) = lost {
            device.failure = Some(failure(Some(code), words));
        }
        true
    }
}
