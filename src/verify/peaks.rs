//! What a card can do at most, by data type, in a second and in a clock: rows of the matrix.

use std::collections::BTreeMap;

use super::Device;
use super::numerics::Dtype;
use crate::domain::GpuKind;
use crate::matrix::{Gpu, Matrix, Throughput};

/// Dense peaks of cards.
#[derive(Debug, Clone, Default)]
pub struct Peaks {
    cards: Vec<Card>,
    throughput: Vec<Throughput>,
}

#[derive(Debug, Clone)]
struct Card {
    names: Vec<String>,
    capability: String,
    multiprocessors: Option<u32>,
    peak: Vec<(Dtype, f64)>,
}

/// Of each data type that has it.
fn all(of: impl Fn(Dtype) -> Option<f64>) -> Vec<(Dtype, f64)> {
    Dtype::ALL.iter().filter_map(|dtype| Some((*dtype, of(*dtype)?))).collect()
}

impl Peaks {
    /// Those that the matrix knows.
    pub fn new(matrix: &Matrix) -> Self {
        let cards = matrix.gpus.iter().map(|gpu| Card {
            names: gpu.names.clone(),
            capability: gpu.capability.to_string(),
            multiprocessors: gpu.sms,
            peak: all(|dtype| peak(gpu, dtype)),
        });
        Self { cards: cards.collect(), throughput: matrix.throughput.clone() }
    }

    /// Dense operations of one of its multiprocessors in a clock, as far as they are known: of its compute
    /// capability, and of GeForce cards apart.
    pub fn per_clock(&self, device: &Device) -> Vec<(Dtype, f64)> {
        let of_device = |row: &&Throughput| Some(row.capability.to_string()) == device.capability;
        let Some(row) = self.throughput.iter().find(of_device) else { return Vec::new() };
        let geforce = device.name.contains("GeForce");
        all(|dtype| {
            let column = column(dtype);
            let otherwise = row.geforce.get(column).filter(|_| geforce);
            otherwise.or_else(|| row.per_clock.get(column)).copied()
        })
    }

    /// Dense peak of a device in TFLOP/s (TOPS of int8), as far as it is known: of the very card, by the name
    /// that the driver gives it. A MIG instance or a card with fewer multiprocessors than the matrix has is
    /// another one.
    pub fn of(&self, device: &Device) -> Vec<(Dtype, f64)> {
        let differs = |known: Option<u32>| {
            known.zip(device.multiprocessors).is_some_and(|(known, has)| known != has)
        };
        let same = |card: &&Card| {
            card.names.contains(&device.name)
                && device.capability.as_ref().is_none_or(|has| *has == card.capability)
                && !differs(card.multiprocessors)
        };
        let instance = device.uuid.as_deref().is_some_and(|uuid| uuid.starts_with("MIG-"));
        let card = self.cards.iter().find(same).filter(|_| !instance);
        card.map(|card| card.peak.clone()).unwrap_or_default()
    }
}

fn peak(gpu: &Gpu, dtype: Dtype) -> Option<f64> {
    let peak: &BTreeMap<String, f64> = &gpu.peak;
    let column = |name: &str| peak.get(name).copied();
    match dtype {
        // Sums are held in 32 bits, which GeForce does at half the rate of the column `fp16`. Cards of data
        // centers do both at one rate; before bf16 that column is the only one that they have.
        Dtype::Fp16 => column("fp16_acc32").or_else(|| column("bf16")).or_else(|| {
            let tensor = gpu.capability.major >= 7 && gpu.kind == GpuKind::Datacenter;
            column("fp16").filter(|_| tensor)
        }),
        _ => column(self::column(dtype)),
    }
}

/// What the matrix calls it.
const fn column(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::E4m3 => "fp8",
        _ => dtype.word(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(device: &Device) -> Vec<(Dtype, f64)> {
        Peaks::new(&Matrix::embedded()).of(device)
    }

    fn device(name: &str) -> Device {
        Device { name: name.into(), ..Device::default() }
    }

    #[test]
    fn by_the_name_of_the_driver() {
        let find = |name: &str, dtype| {
            of(&device(name)).into_iter().find(|(has, _)| *has == dtype).map(|(_, peak)| peak)
        };
        assert_eq!(find("NVIDIA H100 80GB HBM3", Dtype::Bf16).map(f64::round), Some(989.0));
        assert_eq!(find("NVIDIA H200", Dtype::Fp16).map(f64::round), Some(989.0));
        // Half of what it does with sums of 16 bits.
        assert_eq!(find("NVIDIA GeForce RTX 4090", Dtype::Fp16), Some(165.2));
        assert_eq!(find("Tesla T4", Dtype::Fp16), Some(65.0));
        for nobody_says in [("Tesla T4", Dtype::Bf16), ("NVIDIA H200", Dtype::Int8)] {
            assert_eq!(find(nobody_says.0, nobody_says.1), None);
        }
        assert!(of(&device("NVIDIA X900")).is_empty());
    }

    #[test]
    fn what_a_multiprocessor_does_in_a_clock_gives_the_peaks_of_the_data_sheets() {
        let peaks = Peaks::new(&Matrix::embedded());
        let peak = |name: &str, capability: &str, sms: f64, mhz: f64, dtype| {
            let device = Device { capability: Some(capability.into()), ..device(name) };
            let all = peaks.per_clock(&device);
            let found = all.into_iter().find(|(has, _)| *has == dtype);
            found.map(|(_, per_clock)| (sms * mhz * per_clock / 1e6).round())
        };
        assert_eq!(peak("NVIDIA H200", "9.0", 132.0, 1830.0, Dtype::Bf16), Some(989.0));
        assert_eq!(peak("NVIDIA H200", "9.0", 132.0, 1830.0, Dtype::E4m3), Some(1979.0));
        assert_eq!(peak("NVIDIA A100-SXM4-80GB", "8.0", 108.0, 1410.0, Dtype::Bf16), Some(312.0));
        assert_eq!(peak("NVIDIA A100-SXM4-80GB", "8.0", 108.0, 1410.0, Dtype::Tf32), Some(156.0));
        // Its sums in 32 bits are made at half the pace; sums of integers are not.
        let geforce = "NVIDIA GeForce RTX 4090";
        assert_eq!(peak(geforce, "8.9", 128.0, 2520.0, Dtype::Bf16), Some(165.0));
        assert_eq!(peak(geforce, "8.9", 128.0, 2520.0, Dtype::Int8), Some(661.0));
        assert_eq!(peak("Tesla V100-SXM2-16GB", "7.0", 80.0, 1530.0, Dtype::Tf32), None);
        assert!(peaks.per_clock(&device("of no capability")).is_empty());
    }

    #[test]
    fn a_part_of_a_card_has_not_its_peak() {
        let whole = Device {
            capability: Some("9.0".into()),
            multiprocessors: Some(132),
            ..device("NVIDIA H200")
        };
        assert!(!of(&whole).is_empty());
        assert!(of(&Device { multiprocessors: Some(16), ..whole.clone() }).is_empty());
        assert!(of(&Device { uuid: Some("MIG-1".into()), ..whole.clone() }).is_empty());
        assert!(of(&Device { capability: Some("8.0".into()), ..whole }).is_empty());
    }
}
