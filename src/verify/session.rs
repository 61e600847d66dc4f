//! What runs, in which order, and what all of it comes to.

use std::time::{Duration, Instant};

use super::before;
use super::frame;
use super::image::Image;
use super::numerics::Dtype;
use super::peaks::Peaks;
use super::plan::Job;
use super::{Check, Device, Layer, Mode, Outcome, Ran, Subject, Verdict, Verification};
use crate::domain::{Code, Order as _};
use crate::matrix::Matrix;

/// What is asked for.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Asked {
    /// Layers; those that are not asked for are not needed either.
    pub layers: Vec<Layer>,
    /// Devices in CUDA's order; empty: all that there are.
    pub devices: Vec<u32>,
    /// Data types.
    pub dtypes: Vec<Dtype>,
    /// Somebody has named them: one that nothing here multiplies is then missing.
    pub named: bool,
    /// Measure the speed as well.
    pub speed: bool,
    /// Longest that a phase of a child may take; `None`: what the phase itself allows.
    pub longest: Option<Duration>,
    /// torch.compile is promised, not only tried.
    pub compiles: bool,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Prove with small matrices.
    pub quick: bool,
}

/// What was known before a child was started.
pub struct Before {
    /// The layer of files, L0, and of L1 what is about no single device, as they were judged.
    pub ran: Vec<Ran>,
    /// Devices that libcuda shows, with what it tells without a context; where it shows none, why stands
    /// in `ran`.
    pub devices: Vec<Device>,
    /// What cards can do at most.
    pub peaks: Peaks,
}

/// Looks at all that needs no child of its own: the files were judged already, `files`; here come the
/// machine and its driver.
pub fn before(
    asked: &Asked,
    mut subject: Subject,
    image: &Image,
    files: Option<Ran>,
    matrix: &Matrix,
) -> (Subject, Before) {
    let mut ran: Vec<Ran> = files.into_iter().collect();
    subject.torch.clone_from(&image.torch);
    let (machine, devices) = before::machine(asked, &mut subject, matrix);
    ran.extend(machine);
    (subject, Before { ran, devices, peaks: Peaks::new(matrix) })
}

/// Runs the layers that ask the driver or the image's libraries, each in a child.
pub fn run(
    asked: &Asked,
    subject: Subject,
    image: &Image,
    before: &Before,
    hear: &mut dyn FnMut(&Ran),
) -> Verification {
    let start = Instant::now();
    let mut all = Verification {
        verdict: Verdict::Unproven,
        subject,
        devices: before.devices.clone(),
        layers: before.ran.clone(),
        // Digests of small matrices are those of nobody else.
        seed: (!asked.quick).then_some(asked.seed),
        seconds: 0.0,
    };
    all.layers.iter().for_each(&mut *hear);
    let mut listed: Vec<u32> = Vec::new();
    let shown = before.devices.iter().map(|device| device.index);
    for index in if asked.devices.is_empty() { shown.collect() } else { asked.devices.clone() } {
        // NCCL takes no device twice, and no proof needs it.
        if !listed.contains(&index) {
            listed.push(index);
        }
    }
    all.devices.retain(|device| listed.contains(&device.index));
    for layer in Layer::ALL.iter().copied().filter(|layer| asked.layers.contains(layer)) {
        let jobs: Vec<Option<u32>> = match layer {
            Layer::Static | Layer::Driver => continue,
            Layer::Nccl if listed.len() == 1 => {
                let one = Check::not_needed("devices", "one device has nobody to talk to");
                push(&mut all, hear, single(layer, None, one));
                continue;
            }
            Layer::Nccl if listed.is_empty() => Vec::new(),
            Layer::Torch | Layer::Nccl => vec![None],
            _ => listed.iter().copied().map(Some).collect(),
        };
        if jobs.is_empty() {
            // The machine's part has said why.
            if layer == Layer::Cuda && all.layers.iter().any(|ran| ran.layer == layer) {
                continue;
            }
            let none = Check::skip("devices", Code::NoDevice, "there is no device to run it on");
            let why = stopped(&all, layer, None).unwrap_or(none);
            push(&mut all, hear, single(layer, None, why));
            continue;
        }
        for device in jobs {
            let absent = || beyond(&listed, &before.devices).filter(|_| device.is_none());
            if let Some(why) = stopped(&all, layer, device).or_else(absent) {
                push(&mut all, hear, single(layer, device, why));
                continue;
            }
            let known = device.and_then(|index| all.devices.iter().find(|d| d.index == index));
            if let (None, Some(index), count @ 1..) = (known, device, before.devices.len()) {
                push(&mut all, hear, single(layer, device, no_such(index, count)));
                continue;
            }
            let job = Job {
                devices: listed.clone(),
                env: environment(layer),
                dtypes: asked.dtypes.clone(),
                speed: asked.speed,
                libraries: image.libraries.clone(),
                python: image.python.clone(),
                compiles: asked.compiles,
                peaks: known.map(|device| before.peaks.of(device)).unwrap_or_default(),
                per_clock: known.map(|d| before.peaks.per_clock(d)).unwrap_or_default(),
                seed: asked.seed,
                quick: asked.quick,
                ..Job::new(layer, device)
            };
            let told = frame::run(&job, asked.longest);
            if let Some(device) = told.device {
                // It knows more than what was known before.
                all.devices.retain(|known| known.index != device.index);
                all.devices.push(device);
                all.devices.order_by_key(|device| device.index);
            }
            let mut ran = told.ran;
            ran.checks.extend(untold(&ran, &asked.dtypes));
            push(&mut all, hear, ran);
        }
    }
    for ran in unproven(asked, &all.layers) {
        push(&mut all, hear, ran);
    }
    all.verdict = verdict(&all.layers);
    let earlier: f64 = before.ran.iter().map(|ran| ran.seconds).sum();
    all.seconds = earlier + start.elapsed().as_secs_f64();
    all
}

/// A device that is asked for and is not there: layers of all devices cannot be judged with it.
fn beyond(listed: &[u32], devices: &[Device]) -> Option<Check> {
    let there = |index: &&u32| devices.iter().any(|device| device.index == **index);
    let absent = listed.iter().find(|index| !there(index)).filter(|_| !devices.is_empty())?;
    let text = format!("device {absent} was asked for, and libcuda shows {}", devices.len());
    let check = Check::skip("devices", Code::NoDevice, text);
    Some(check.help("leave --device away, or look at CUDA_VISIBLE_DEVICES"))
}

/// Data types of which a layer tells nothing at all, though nothing has kept it from it.
fn untold(ran: &Ran, dtypes: &[Dtype]) -> Vec<Check> {
    let told = |dtype: &Dtype| {
        let is = |part: &str| part.split('-').next() == Some(dtype.word());
        ran.checks.iter().any(|check| check.name.split('.').any(is))
    };
    if !matches!(ran.layer, Layer::Cublas | Layer::Cudnn | Layer::Torch)
        || matches!(ran.outcome(), Outcome::Skip | Outcome::Fail | Outcome::Hang | Outcome::Crash)
    {
        return Vec::new();
    }
    let missing = dtypes.iter().filter(|dtype| !told(dtype));
    missing
        .map(|dtype| {
            let text = format!("the layer told nothing of {}", dtype.word());
            Check::skip(dtype.word(), Code::Unknown, text)
        })
        .collect()
}

/// Data types that somebody has named, and that no layer has multiplied: the card or the libraries have not got
/// them, which is no proof.
fn unproven(asked: &Asked, layers: &[Ran]) -> Vec<Ran> {
    let multiply = [Layer::Cublas, Layer::Torch, Layer::Cudnn, Layer::Kernel];
    let Some(layer) = multiply.into_iter().find(|layer| asked.layers.contains(layer)) else {
        return Vec::new();
    };
    if !asked.named || verdict(layers) != Verdict::Proven {
        return Vec::new();
    }
    let proven = |dtype: &Dtype| {
        let of = |check: &Check| {
            let rest = check.name.strip_suffix(".exact-integer")?;
            let word = rest.rsplit('.').next()?.split('-').next()?;
            (word == dtype.word() && check.outcome == Outcome::Pass).then_some(())
        };
        layers.iter().flat_map(|ran| &ran.checks).any(|check| of(check).is_some())
    };
    let missing = asked.dtypes.iter().filter(|dtype| !proven(dtype));
    missing
        .map(|dtype| {
            let word = dtype.word();
            let text = format!("{word} was asked for by name, and nothing here has multiplied it");
            let check = Check::skip(format!("{word}.asked"), Code::Unknown, text);
            single(layer, None, check.help(format!("leave {word} out of --dtype")))
        })
        .collect()
}

fn push(all: &mut Verification, hear: &mut dyn FnMut(&Ran), ran: Ran) {
    hear(&ran);
    all.layers.push(ran);
}

/// A device that was asked for is not among those that libcuda shows.
fn no_such(index: u32, count: usize) -> Check {
    let many = if count == 1 { "" } else { "s" };
    let text = format!(
        "device {index} was asked for, and libcuda shows this process {count} device{many}, by an index from 0 on"
    );
    Check::skip("context", Code::NoDevice, text)
        .help("leave --device away, or look at CUDA_VISIBLE_DEVICES")
}

fn single(layer: Layer, device: Option<u32>, check: Check) -> Ran {
    Ran { layer, device, seconds: 0.0, checks: vec![check] }
}

/// Why a layer cannot stand where it should: libcuda has failed below it.
fn stopped(all: &Verification, layer: Layer, device: Option<u32>) -> Option<Check> {
    if layer < Layer::Cuda {
        return None;
    }
    // L1 itself stands on its own part that is about no single device.
    let below = all
        .layers
        .iter()
        .filter(|ran| ran.layer == Layer::Cuda && (layer > Layer::Cuda || ran.device.is_none()));
    let mut below =
        below.filter(|ran| device.is_none() || ran.device.is_none() || ran.device == device);
    let broken = below.find(|ran| ran.outcome().is_failure() || ran.outcome() == Outcome::Skip)?;
    let cause = broken.checks.iter().find(|check| check.outcome >= Outcome::Skip)?;
    let text = format!("not run, because {} did not pass: {}", Layer::Cuda.title(), cause.text);
    Some(Check::skip("layer", cause.code, text))
}

/// Variables of a layer's child. The image's own environment stays what it is: it is on trial too.
fn environment(layer: Layer) -> Vec<(String, String)> {
    match layer {
        // A kernel from an earlier run's cache would prove nothing about the driver's compiler.
        Layer::Kernel => vec![("CUDA_CACHE_DISABLE".into(), "1".into())],
        _ => Vec::new(),
    }
}

/// What the layers come to.
pub fn verdict(layers: &[Ran]) -> Verdict {
    let checks = || layers.iter().flat_map(|ran| &ran.checks);
    if checks().any(|check| check.outcome.is_failure()) {
        return Verdict::Failed;
    }
    let missing = |check: &Check| check.outcome == Outcome::Skip && !check.optional;
    let looked = checks().any(|check| matches!(check.outcome, Outcome::Pass | Outcome::Warn));
    if checks().any(missing) || !looked { Verdict::Unproven } else { Verdict::Proven }
}

/// Layers that a mode asks for when nobody says otherwise.
pub fn layers_of(mode: Mode) -> &'static [Layer] {
    match mode {
        Mode::Static => &[Layer::Static],
        Mode::Here | Mode::Image => Layer::ALL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_looked_at_is_not_proven() {
        let ran = |checks| vec![Ran { layer: Layer::Cuda, device: None, seconds: 0.0, checks }];
        assert_eq!(verdict(&[]), Verdict::Unproven);
        assert_eq!(verdict(&ran(vec![Check::pass("a", "")])), Verdict::Proven);
        let skipped = Check::skip("b", Code::Unknown, "");
        assert_eq!(verdict(&ran(vec![Check::pass("a", ""), skipped.clone()])), Verdict::Unproven);
        let failed = Check::fail("c", Code::Slow, "");
        assert_eq!(verdict(&ran(vec![skipped, failed])), Verdict::Failed);
        assert_eq!(verdict(&ran(vec![Check::not_needed("d", "")])), Verdict::Unproven);
    }

    #[test]
    fn a_device_that_is_not_there_is_no_failure_of_torch() {
        let devices = [Device::default()];
        let absent = beyond(&[0, 9], &devices).expect("a check");
        assert_eq!((absent.outcome, absent.optional), (Outcome::Skip, false));
        assert!(absent.text.starts_with("device 9 "), "{}", absent.text);
        assert_eq!(beyond(&[0], &devices), None);
        // Why there is none was said elsewhere.
        assert_eq!(beyond(&[0], &[]), None);
    }

    #[test]
    fn a_data_type_that_is_named_is_multiplied_or_not_proven() {
        let dtypes = vec![Dtype::Bf16, Dtype::E4m3];
        let ran = |checks| Ran { layer: Layer::Cublas, device: Some(0), seconds: 0.0, checks };
        let (pass, without) =
            (Check::pass("bf16.exact-integer", ""), Check::not_needed("e4m3", "too old"));
        let missing = |ran: &Ran| -> Vec<String> {
            untold(ran, &dtypes).into_iter().map(|check| check.name).collect()
        };
        let half = missing(&ran(vec![pass.clone()]));
        assert_eq!(half, ["e4m3"]);
        let whole = missing(&ran(vec![pass.clone(), without.clone()]));
        assert!(whole.is_empty());
        // What has ended early has said why.
        let failed = Check::fail("handle", Code::Unknown, "");
        let ended = missing(&ran(vec![failed]));
        assert!(ended.is_empty());

        let mut asked = Asked {
            layers: vec![Layer::Cublas],
            devices: Vec::new(),
            dtypes: dtypes.clone(),
            named: true,
            speed: false,
            longest: None,
            compiles: false,
            seed: 1,
            quick: true,
        };
        let layers = [ran(vec![pass, without])];
        let names: Vec<String> =
            unproven(&asked, &layers).into_iter().map(|ran| ran.checks[0].name.clone()).collect();
        assert_eq!(names, ["e4m3.asked"]);
        asked.named = false;
        assert!(unproven(&asked, &layers).is_empty());
    }
}
