//! Clocks of a device while something is measured on it, from NVML, on a thread of its own.
//!
//! A speed says little without them: a card at half its clock is half as fast, and not at fault. What NVML
//! refuses is `None`, and an NVML that does not come back is left behind: the measurement does not wait.
#![allow(unsafe_code, reason = "the bits of the reasons are not wrapped")]

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::{Device, Nvml};

/// Between two samples.
const PAUSE: Duration = Duration::from_millis(40);

/// How long the end of the last sample is waited for.
const GRACE: Duration = Duration::from_millis(300);

/// What was seen between start and stop.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sampled {
    /// Mean clock of the multiprocessors, in MHz.
    pub sm_clock_mhz: Option<f64>,
    /// How often it was read.
    pub samples: u32,
    /// Mean power, in watts.
    pub power_watts: Option<f64>,
    /// Highest temperature, in degrees Celsius.
    pub temperature: Option<u32>,
    /// Every reason that held the clocks down at some time, as NVML names them: `SW_POWER_CAP`; a bit
    /// without a name as `0x1000`.
    pub reasons: Vec<String>,
    /// The same as NVML gives them.
    pub reason_bits: Option<u64>,
    /// Another process has a context on the device. This one is listed as well, so an empty list is no answer.
    pub other_processes: Option<bool>,
}

/// Sums of the samples so far.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    clock: (f64, u32),
    power: (f64, u32),
    hottest: Option<u32>,
    reasons: Option<u64>,
    others: Option<bool>,
}

/// A thread that samples.
pub struct Clocks {
    sums: Arc<Mutex<Sums>>,
    stop: Arc<AtomicBool>,
    ended: Receiver<()>,
}

impl Clocks {
    /// Starts to sample the device with this UUID (`GPU-...`) or address on the PCI bus
    /// (`0000:01:00.0`). Never by an index: NVML counts otherwise than CUDA does.
    pub fn start(device: &str) -> Self {
        let (sums, stop) =
            (Arc::new(Mutex::new(Sums::default())), Arc::new(AtomicBool::new(false)));
        let (sender, ended) = mpsc::channel();
        let (device, theirs) = (device.to_owned(), (Arc::clone(&sums), Arc::clone(&stop)));
        // A system that gives no thread gives no sample either.
        let _ = thread::Builder::new().spawn(move || {
            sample(&device, &theirs.0, &theirs.1);
            drop(sender);
        });
        Self { sums, stop, ended }
    }

    /// Stops, and tells what was seen so far.
    pub fn stop(self) -> Sampled {
        self.stop.store(true, Ordering::Relaxed);
        // Nothing is ever sent: the channel closes when the thread ends.
        let _ = self.ended.recv_timeout(GRACE);
        let sums = *self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let mean = |(sum, count): (f64, u32)| (count > 0).then(|| sum / f64::from(count));
        Sampled {
            sm_clock_mhz: mean(sums.clock),
            samples: sums.clock.1,
            power_watts: mean(sums.power),
            temperature: sums.hottest,
            reasons: sums.reasons.map(names).unwrap_or_default(),
            reason_bits: sums.reasons,
            other_processes: sums.others,
        }
    }
}

/// Names of the bits.
fn names(bits: u64) -> Vec<String> {
    let known = ThrottleReasons::from_bits_truncate(bits);
    let mut names: Vec<String> = known.iter_names().map(|(name, _)| name.to_owned()).collect();
    let unknown = bits & !known.bits();
    names.extend(
        (0..u64::BITS)
            .map(|at| unknown & (1 << at))
            .filter(|bit| *bit != 0)
            .map(|bit| format!("{bit:#x}")),
    );
    names
}

fn sample(device: &str, sums: &Mutex<Sums>, stop: &AtomicBool) {
    let nvml = Nvml::init();
    // Closing it could hang or crash: it ends with the process.
    let Ok(nvml) = nvml.map(ManuallyDrop::new) else { return };
    let by_uuid = device.starts_with("GPU-") || device.starts_with("MIG-");
    let found =
        if by_uuid { nvml.device_by_uuid(device) } else { nvml.device_by_pci_bus_id(device) };
    let Ok(card) = found else { return };
    loop {
        let clock = card.clock_info(Clock::SM).ok().map(f64::from);
        let power = card.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / 1000.0);
        let heat = card.temperature(TemperatureSensor::Gpu).ok();
        let reasons = reasons(&card);
        let listed = card.running_compute_processes().ok().map(|list| list.len());
        {
            let mut sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
            add(&mut sums.clock, clock);
            add(&mut sums.power, power);
            sums.hottest = sums.hottest.max(heat);
            sums.reasons =
                reasons.map_or(sums.reasons, |bits| Some(sums.reasons.unwrap_or(0) | bits));
            // Seen once is enough.
            let others = listed.filter(|count| *count > 0).map(|count| count > 1);
            sums.others = sums.others.max(others);
        }
        if stop.load(Ordering::Relaxed) {
            return;
        }
        thread::sleep(PAUSE);
    }
}

fn add(sum: &mut (f64, u32), value: Option<f64>) {
    if let Some(value) = value {
        *sum = (sum.0 + value, sum.1 + 1);
    }
}

/// All bits: the wrapper's own function drops those that it has no name for.
fn reasons(card: &Device<'_>) -> Option<u64> {
    let library = card.nvml().lib();
    let get = library.nvmlDeviceGetCurrentClocksThrottleReasons.as_ref().ok()?;
    let mut bits = 0;
    // SAFETY: the handle is the wrapper's own, and one integer is written.
    (unsafe { get(card.handle(), &raw mut bits) } == 0).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_without_a_name_are_kept() {
        assert_eq!(names(0x4), ["SW_POWER_CAP"]);
        assert_eq!(names(0x8 | 0x1000), ["HW_SLOWDOWN", "0x1000"]);
    }

    #[test]
    fn without_nvml_nothing_is_known_and_nobody_waits() {
        let start = std::time::Instant::now();
        let sampled = Clocks::start("GPU-00000000-0000-0000-0000-000000000000").stop();
        assert_eq!((sampled.sm_clock_mhz, sampled.samples), (None, 0));
        assert!(start.elapsed() < Duration::from_secs(2));
    }
}
