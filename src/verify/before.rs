//! What is known before a layer starts a child: the machine and its driver, as `doctor` judges them.
//!
//! A machine without GPU or driver cannot be judged by, which is no failure; a driver that is there and does
//! not work is one. What `doctor` only remarks, because it has told the cause elsewhere, is never a pass here.

use std::time::{Duration, Instant};

use super::session::Asked;
use super::{Check, Layer, Outcome, Ran, Subject, status};
use crate::doctor::{self, Checked, Link, Report};
use crate::domain::{Code, Finding, Severity, shown};
use crate::host::{self, Answer, Device, Facts, Failure, Look};
use crate::matrix::Matrix;

/// As long as L1 gives the same calls: what `doctor` calls slow would be a failure here.
const DEADLINE: Duration = Duration::from_mins(1);

/// L0 and the part of L1 that is about no single device, as far as they are asked for, and the devices that
/// libcuda shows.
pub fn machine(
    asked: &Asked,
    subject: &mut Subject,
    matrix: &Matrix,
) -> (Vec<Ran>, Vec<super::Device>) {
    if asked.layers.iter().all(|layer| *layer == Layer::Static) {
        return (Vec::new(), Vec::new());
    }
    let start = Instant::now();
    let facts = host::collect(&Look {
        run_python: false,
        deadline: asked.longest.map_or(DEADLINE, |longest| longest.min(DEADLINE)),
        ..Look::default()
    });
    let judged = judged(&facts, matrix, &asked.layers, start.elapsed());
    let nvml = facts.nvml.as_ref().and_then(Answer::told);
    let smi = facts.smi.as_ref().and_then(Answer::told);
    let of_module = facts.module.as_ref().map(|module| module.value.driver);
    let driver = of_module.or_else(|| nvml?.driver).or_else(|| smi?.driver);
    subject.driver = driver.map(|driver| driver.to_string());
    let cuda = facts.cuda.as_ref().and_then(Answer::told).and_then(|cuda| cuda.version);
    subject.driver_cuda = cuda.map(|cuda| cuda.to_string());
    (judged, devices(&facts))
}

/// Devices that libcuda shows, in its order, with what it tells without a context.
fn devices(facts: &Facts) -> Vec<super::Device> {
    let cuda = facts.cuda.as_ref().and_then(Answer::told).filter(|cuda| cuda.failure.is_none());
    let shown = (0..).zip(cuda.map(|cuda| cuda.devices.as_slice()).unwrap_or_default());
    let device = |(index, device): (u32, &host::CudaDevice)| super::Device {
        index,
        name: device.name.clone(),
        capability: device.capability.map(|capability| capability.to_string()),
        memory: device.memory_total,
        ..super::Device::default()
    };
    shown.map(device).collect()
}

/// The status with which libcuda failed.
fn cuda_status(facts: &Facts) -> Option<i32> {
    let answer = facts.cuda.as_ref()?;
    answer.failure().or_else(|| answer.told()?.failure.as_ref())?.code
}

fn judged(facts: &Facts, matrix: &Matrix, layers: &[Layer], took: Duration) -> Vec<Ran> {
    let report = doctor::examine(&doctor::Subject { facts, matrix, lock: None });
    let works = !devices(facts).is_empty();
    let listed = facts.nvml.as_ref().and_then(Answer::told).map(|nvml| nvml.devices.len());
    let hidden = listed == Some(0) && matches!(cuda_status(facts), None | Some(100 | 101));
    let nothing = report.nothing_here || hidden && !works;
    let judge = Judge { facts, report: &report, works, nothing };
    let mut ran = Vec::new();
    for (layer, seconds) in [(Layer::Driver, took.as_secs_f64()), (Layer::Cuda, 0.0)] {
        // What libcuda said counts for every layer that stands on it, asked for or not.
        let asked = layers.contains(&layer);
        if asked || layer == Layer::Cuda && !judge.works && layers.iter().any(|l| *l > layer) {
            ran.push(Ran { layer, device: None, seconds, checks: judge.layer(layer) });
        }
    }
    ran
}

/// The layer that one of doctor's checks belongs to.
fn layer_of(checked: &Checked) -> Option<Layer> {
    match (checked.check.name, checked.check.link) {
        // About containers that this machine starts, and not about what runs here.
        ("container-engine" | "cdi-specification", _) => None,
        ("device-nodes" | "nvml-answers", _)
        | (_, Link::Gpu | Link::KernelDriver | Link::Container) => Some(Layer::Driver),
        (_, Link::UserDriver | Link::Selection) => Some(Layer::Cuda),
        _ => None,
    }
}

struct Judge<'j> {
    facts: &'j Facts,
    report: &'j Report,
    /// libcuda starts and shows a device.
    works: bool,
    /// No source shows a device, and none says that this is a fault.
    nothing: bool,
}

impl Judge<'_> {
    fn layer(&self, layer: Layer) -> Vec<Check> {
        let mut checks = Vec::new();
        for checked in self.report.checks.iter().filter(|checked| layer_of(checked) == Some(layer))
        {
            match checked.check.name {
                "nvml-answers" => checks.push(self.nvml(checked)),
                "cuda-starts" => checks.push(self.starts(checked)),
                _ => self.plain(checked, &mut checks),
            }
        }
        match layer {
            Layer::Driver => {
                for (at, device) in self.devices().iter().enumerate() {
                    state(at, device, &mut checks);
                }
            }
            _ => checks.extend(self.versions()),
        }
        checks
    }

    fn plain(&self, checked: &Checked, checks: &mut Vec<Check>) {
        let name = checked.check.name;
        match &checked.outcome {
            doctor::Outcome::Apart => (),
            doctor::Outcome::Passed(text) => checks.push(Check::pass(name, text)),
            doctor::Outcome::Skipped(why) => checks.push(self.skipped(name, why)),
            doctor::Outcome::Found(findings) => {
                for (at, finding) in findings.iter().enumerate() {
                    let mut check = told(name, finding, self.weight(finding));
                    if self.works && check.outcome == Outcome::Skip {
                        let why = "libcuda shows a device, which nothing else that was asked does";
                        check = Check::not_needed(name, why);
                    }
                    if at > 0 {
                        check.name = format!("{name}-{}", at + 1);
                    }
                    checks.push(check);
                }
            }
        }
    }

    /// Where CUDA works, the proofs tell more than a table that does not know the card. Whether the card is
    /// healthy only NVML tells.
    fn skipped(&self, name: &str, why: &str) -> Check {
        // A Jetson may do without NVML.
        let health = matches!(name, "gpu-alive" | "nvml-answers");
        if self.works && !(health && self.facts.system.jetson.is_none()) {
            return Check::not_needed(name, why);
        }
        // The health of a card stays unknown for the reason that NVML gave.
        if let Some(Answer::Failed(failure)) = self.facts.nvml.as_ref().filter(|_| self.works) {
            let text = format!("{why}: {} fails: {}", failure.call, failure.text);
            return Check::skip(name, nvml_code(failure), text);
        }
        Check::skip(name, if self.has_driver() { Code::Unknown } else { Code::NoDriver }, why)
    }

    /// Some source told of a driver.
    fn has_driver(&self) -> bool {
        let nvml = self.facts.nvml.as_ref().and_then(Answer::told);
        self.works || self.facts.module.is_some() || nvml.is_some()
    }

    fn weight(&self, finding: &Finding) -> Outcome {
        match finding.severity {
            // Nothing is here to be judged by.
            Severity::Error if self.nothing || is_absence(finding.code) => Outcome::Skip,
            Severity::Error => Outcome::Fail,
            Severity::Unknown => Outcome::Skip,
            Severity::Warning => Outcome::Warn,
            Severity::Note => Outcome::Pass,
        }
    }

    /// `cuda-starts`, from what libcuda itself said: doctor only remarks what follows from something else.
    fn starts(&self, checked: &Checked) -> Check {
        let name = checked.check.name;
        match &self.facts.cuda {
            None => Check::skip(name, Code::Unknown, "nobody asked libcuda"),
            Some(Answer::Absent(words)) => {
                let code = self.report.broken().map_or(Code::NoDriver, |(_, broken)| broken.code);
                Check::skip(name, code, "libcuda.so.1 is not found: CUDA cannot start here")
                    .fact(shown(words), "loader")
                    .help(status::WITHOUT_DRIVER)
            }
            Some(Answer::Hung(phase)) => stuck(checked, "libcuda", phase),
            Some(Answer::Crashed(how)) => died(checked, "libcuda", how),
            Some(Answer::Failed(failure)) => self.failed(checked, failure),
            Some(Answer::Told(cuda)) => match (&cuda.failure, &checked.outcome) {
                (None, doctor::Outcome::Passed(text)) => Check::pass(name, text),
                (None, _) => {
                    let text = "no device".into();
                    let call = "cuDeviceGetCount".into();
                    self.failed(checked, &Failure { call, code: Some(100), text })
                }
                (Some(failure), _) => self.failed(checked, failure),
            },
        }
    }

    fn failed(&self, checked: &Checked, failure: &Failure) -> Check {
        let none = matches!(failure.code, Some(100 | 101));
        let outcome = if none { Outcome::Skip } else { Outcome::Fail };
        // These say by themselves what is wrong; the others only that something is.
        let clear = matches!(failure.code, Some(2 | 34..=36 | 46 | 214 | 802..=809));
        let finding =
            first(checked).filter(|finding| !clear && (none || !is_absence(finding.code)));
        let own = doctor::by_status(failure, self.facts.container.is_some());
        let mut check = self.caused(checked.check.name, finding.unwrap_or(&own), outcome);
        if let Some(status) = failure.code {
            check = check.number("status", status);
        }
        check
    }

    /// What was found; of a symptom, with the words of what it follows from: that may stand in a layer that nobody
    /// asked for.
    fn caused(&self, name: &str, finding: &Finding, outcome: Outcome) -> Check {
        let check = told(name, finding, outcome);
        let findings = self.report.checks.iter().filter_map(|checked| match &checked.outcome {
            doctor::Outcome::Found(findings) => Some(findings),
            _ => None,
        });
        let is_cause = |f: &&Finding| f.severity == Severity::Error && f.code == finding.code;
        let cause = findings.flatten().find(is_cause);
        match doctor::symptom_of(finding).zip(cause) {
            Some((symptom, cause)) => {
                let text = format!("{symptom}: {}", cause.message);
                Check { text, ..told(name, cause, outcome) }
            }
            None => check,
        }
    }

    /// `nvml-answers`, in the same way.
    fn nvml(&self, checked: &Checked) -> Check {
        let name = checked.check.name;
        match &self.facts.nvml {
            Some(Answer::Hung(phase)) => stuck(checked, "NVML", phase),
            Some(Answer::Crashed(how)) => died(checked, "NVML", how),
            // NVML_ERROR_DRIVER_NOT_LOADED
            Some(Answer::Failed(failure)) if failure.code == Some(9) && !self.works => {
                Check::skip(name, Code::NoDriver, "NVML finds no driver that is loaded")
                    .fact(format!("{}: {}", failure.call, failure.text), "NVML")
                    .number("status", 9)
                    .help(status::WITHOUT_DRIVER)
            }
            Some(Answer::Failed(failure)) => {
                let outcome = if self.works { Outcome::Warn } else { Outcome::Fail };
                let words = format!("{} fails: {}", failure.call, failure.text);
                let own = Finding::new(nvml_code(failure), Severity::Error, words);
                let finding = first(checked).filter(|finding| !is_absence(finding.code));
                self.caused(name, finding.unwrap_or(&own), outcome)
            }
            _ => match &checked.outcome {
                doctor::Outcome::Passed(text) => Check::pass(name, text),
                doctor::Outcome::Skipped(why) => self
                    .skipped(name, why)
                    .help("in a container: NVIDIA_DRIVER_CAPABILITIES=compute,utility brings NVML"),
                _ => self.skipped(name, "NVML did not answer"),
            },
        }
    }

    fn devices(&self) -> &[Device] {
        let nvml = self.facts.nvml.as_ref().and_then(Answer::told);
        nvml.map(|nvml| nvml.devices.as_slice()).unwrap_or_default()
    }

    /// libcuda and NVML are of one driver where they implement one CUDA. Of files with a version in their
    /// names, and of cuda-compat, doctor has spoken.
    fn versions(&self) -> Option<Check> {
        const NAME: &str = "cuda-version";
        let cuda = self.facts.cuda.as_ref()?.told()?;
        let (own, driver) = (cuda.version?, self.facts.nvml.as_ref()?.told()?.cuda?);
        if own == driver {
            return Some(Check::pass(NAME, format!("libcuda and NVML implement CUDA {own}")));
        }
        let belongs = |checked: &&Checked| checked.check.name == "libcuda-belongs";
        let said = self.report.checks.iter().find(belongs).map(|checked| &checked.outcome);
        if matches!(said, Some(doctor::Outcome::Passed(_) | doctor::Outcome::Found(_))) {
            return None;
        }
        let text = format!(
            "libcuda implements CUDA {own}, and NVML {driver}: the libcuda that is loaded is not the driver's own"
        );
        let file = cuda.file.as_deref().map_or_else(|| "libcuda.so.1".into(), shown);
        Some(Check::warn(NAME, Code::LibraryShadowed, text)
            .fact(file, "maps of the process")
            .help("take that file out of the image or out of LD_LIBRARY_PATH: libcuda comes from the host's driver"))
    }
}

/// What `doctor` does not say of a machine that works: what the speed depends on.
fn state(at: usize, device: &Device, checks: &mut Vec<Check>) {
    let name = match &device.address {
        Some(address) => format!("{} at {}", shown(&device.name), shown(address)),
        None => shown(&device.name),
    };
    if let Some([generation, width, _, most]) = device.pcie {
        let check = format!("gpu-link.{at}");
        checks.push(if width < most {
            Check::warn(check, Code::Slow, format!("{name} has {width} lanes of PCIe, and the card and its slot have {most}"))
                .help("seat the card again; look at risers and at the lanes that the firmware gives the slot")
        } else {
            Check::pass(check, format!("{name} has {width} lanes of PCIe {generation}"))
        });
    }
    let Some(processes) = &device.processes else { return };
    let check = format!("gpu-alone.{at}");
    checks.push(if processes.is_empty() {
        Check::pass(check, format!("no other program computes on {name}"))
    } else {
        let count = processes.len();
        let programs = if count == 1 { "program computes" } else { "programs compute" };
        let text = format!("{count} other {programs} on {name}: its speed says nothing");
        Check::warn(check, Code::DeviceBusy, text).help("end them, then verify again")
    });
}

/// There is no GPU, or no driver: nothing to judge by.
const fn is_absence(code: Code) -> bool {
    matches!(code, Code::NoDriver | Code::NoDevice | Code::NoCudaPlatform)
}

/// What a status of NVML's start means.
const fn nvml_code(failure: &Failure) -> Code {
    match failure.code {
        Some(4) => Code::DevicePermission,
        Some(9) => Code::NoDriver,
        Some(18) => Code::DriverLibraryMismatch,
        _ => Code::DriverState,
    }
}

fn first(checked: &Checked) -> Option<&Finding> {
    match &checked.outcome {
        doctor::Outcome::Found(findings) => findings.first(),
        _ => None,
    }
}

fn told(name: &str, finding: &Finding, outcome: Outcome) -> Check {
    let code = if outcome == Outcome::Pass { Code::Ok } else { finding.code };
    let mut check = Check::new(name, outcome, code, &finding.message);
    check.facts.clone_from(&finding.facts);
    check.help.clone_from(&finding.help);
    check
}

fn stuck(checked: &Checked, library: &str, phase: &str) -> Check {
    let text = format!("{library} does not come back from {}: the driver hangs", shown(phase));
    ended(checked, Outcome::Hang, text).number("phase", shown(phase))
}

fn died(checked: &Checked, library: &str, how: &str) -> Check {
    ended(checked, Outcome::Crash, format!("{library} died: {}", shown(how)))
}

fn ended(checked: &Checked, outcome: Outcome, text: String) -> Check {
    let mut check = Check::new(checked.check.name, outcome, Code::DriverState, text);
    let finding = first(checked).filter(|finding| !finding.help.is_empty());
    if let Some(finding) = finding {
        check.facts.clone_from(&finding.facts);
        check.help.clone_from(&finding.help);
        return check;
    }
    check
        .help("look for Xid lines in the kernel log: `sudo dmesg | grep -i xid`; then reboot")
        .help(
            "in a container: look whether the image holds a second copy of the driver's libraries",
        )
}
