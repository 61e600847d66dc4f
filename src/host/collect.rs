//! Asks every source, each on a thread and with a deadline of its own: a file system that is gone or a
//! driver that hangs must not hold up the rest.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::machine::Machine;
use super::{
    Facts, RECORD, Unread, container, cuda, devices, engines, kernel, loader, nvml, probe, python,
    smi, system, toolkits,
};

/// Where to look, and at what.
#[derive(Debug, Clone)]
pub struct Look {
    /// `/`, or a folder that is laid out like a machine.
    pub root: PathBuf,
    /// Python environments to look at instead of those that are found.
    pub envs: Vec<PathBuf>,
    /// Python may be run, to hear from torch itself.
    pub run_python: bool,
    /// Folder of the project, for its `.venv`.
    pub project: PathBuf,
    /// How long each library of the driver may take to answer.
    pub deadline: Duration,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            root: "/".into(),
            envs: Vec::new(),
            run_python: true,
            project: ".".into(),
            deadline: probe::DEADLINE,
        }
    }
}

impl Look {
    /// It is this machine that is looked at: drivers may be asked as well.
    pub fn is_here(&self) -> bool {
        self.root == Path::new("/")
    }
}

/// What a source found, to be put in its place.
type Fill = Box<dyn FnOnce(&mut Facts) + Send>;

/// A source of facts.
struct Part {
    name: &'static str,
    /// Counted from the common start.
    seconds: u64,
    /// It reads files alone, of what an image itself holds.
    files: bool,
    look: fn(&Machine, &Look) -> Fill,
}

const PARTS: &[Part] = &[
    Part {
        name: "operating system",
        seconds: 30,
        files: true,
        look: |machine, _| {
            let found = system::look(machine);
            Box::new(move |facts| facts.system = found)
        },
    },
    Part {
        name: "PCI bus",
        seconds: 20,
        files: false,
        look: |machine, _| {
            let found = devices::pci(machine);
            Box::new(move |facts| facts.pci = found)
        },
    },
    Part {
        name: "kernel module",
        seconds: 40,
        files: false,
        look: |machine, _| {
            let files = kernel::files(machine);
            let (module, loaded) = (kernel::module(machine, &files), kernel::loaded(machine));
            Box::new(move |facts| {
                (facts.module_files, facts.module, facts.loaded) = (files, module, loaded);
            })
        },
    },
    Part {
        name: "device nodes",
        seconds: 30,
        files: false,
        look: |machine, _| {
            let found = devices::nodes(machine);
            Box::new(move |facts| facts.nodes = found)
        },
    },
    Part {
        name: "kernel log",
        seconds: 20,
        files: false,
        look: |machine, _| {
            let found = devices::kernel_log(machine);
            Box::new(move |facts| facts.kernel_log = found)
        },
    },
    Part {
        name: "files of the loader",
        seconds: 20,
        files: true,
        look: |machine, _| {
            let found = loader::look(machine);
            Box::new(move |facts| facts.loader = found)
        },
    },
    Part {
        name: "CUDA toolkits",
        seconds: 40,
        files: false,
        look: |machine, _| {
            let found = toolkits::look(machine);
            Box::new(move |facts| facts.toolkits = found)
        },
    },
    Part {
        name: "container and job",
        seconds: 20,
        files: true,
        look: |machine, _| {
            let inside = container::look(machine);
            let services = container::services(machine, inside.is_some());
            let (env, job) = (container::environment(machine), container::job(machine));
            Box::new(move |facts| {
                (facts.container, facts.services, facts.env, facts.job) =
                    (inside, services, env, job);
            })
        },
    },
    Part {
        name: "container engines",
        seconds: 60,
        files: false,
        look: |machine, _| {
            let found = engines::look(machine);
            Box::new(move |facts| facts.engines = found)
        },
    },
    // The driver is asked in children, which may hang or die: see `probe`.
    Part {
        name: "NVML and nvidia-smi",
        seconds: 70,
        files: false,
        look: |_, look| {
            let nvml = look.is_here().then(|| nvml::ask(look.deadline));
            let mute = nvml.as_ref().is_some_and(|answer| answer.told().is_none());
            let smi = mute.then(|| smi::ask(look.deadline));
            Box::new(move |facts| (facts.nvml, facts.smi) = (nvml, smi))
        },
    },
    Part {
        name: "libcuda",
        seconds: 40,
        files: false,
        look: |_, look| {
            let found = look.is_here().then(|| cuda::ask(look.deadline));
            Box::new(move |facts| facts.cuda = found)
        },
    },
    Part {
        name: "Python environments",
        seconds: 300,
        files: true,
        look: |machine, look| {
            let found = python::look(machine, look);
            Box::new(move |facts| facts.pythons = found)
        },
    },
];

/// Collects what can be known of a machine. Judges nothing, writes nothing, and comes back: what gave no
/// answer in time is in `unread`.
pub fn collect(look: &Look) -> Facts {
    ask(look, PARTS)
}

/// Collects what the files of an image tell: asks no driver, and runs no Python.
pub fn files(look: &Look) -> Facts {
    let look = Look { run_python: false, ..look.clone() };
    ask(&look, PARTS.iter().filter(|part| part.files))
}

fn ask(look: &Look, parts: impl IntoIterator<Item = &'static Part>) -> Facts {
    let shared = Arc::new((Machine::new(&look.root), look.clone()));
    let start = Instant::now();
    let asked: Vec<_> = parts
        .into_iter()
        .map(|part| {
            let (sender, receiver) = mpsc::channel();
            let shared = Arc::clone(&shared);
            // Nobody may be left to hear a late answer.
            thread::spawn(move || drop(sender.send((part.look)(&shared.0, &shared.1))));
            (part, receiver)
        })
        .collect();
    let mut facts = Facts { record: RECORD, ..Facts::default() };
    let mut late = Vec::new();
    for (part, receiver) in asked {
        let left = Duration::from_secs(part.seconds).saturating_sub(start.elapsed());
        let why = match receiver.recv_timeout(left) {
            Ok(fill) => {
                fill(&mut facts);
                continue;
            }
            Err(RecvTimeoutError::Timeout) => format!("no answer in {} s", part.seconds),
            Err(RecvTimeoutError::Disconnected) => "looking at it failed".into(),
        };
        late.push(Unread { what: part.name.into(), why });
    }
    facts.unread = late;
    facts.unread.extend(shared.0.all_missed());
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::machine::tests::machine;

    #[test]
    fn an_empty_machine_has_no_facts_and_no_panic() {
        let (root, _) = machine(&[]);
        let look = Look { root: root.path().into(), project: "/".into(), ..Look::default() };
        let facts = collect(&look);
        assert_eq!((facts.record, &facts.module, &facts.pci), (RECORD, &None, &None));
        assert_eq!(
            (facts.pythons.len(), facts.toolkits.len(), facts.container.is_some()),
            (0, 0, false)
        );
        assert!(facts.unread.iter().any(|note| note.what == "kernel log"));
    }

    #[test]
    fn each_source_lands_in_its_place_and_the_record_holds_all() {
        let (root, _) = machine(&[
            (
                "/proc/self/environ",
                "CUDA_VISIBLE_DEVICES=1\0SLURM_JOB_ID=7\0LD_LIBRARY_PATH=/opt/lib\0",
            ),
            (
                "/proc/driver/nvidia/version",
                "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.133.20  Sun\n",
            ),
            ("/proc/modules", "nvidia 9 2 - Live\n"),
            ("/proc/1/comm", "systemd\n"),
            ("/sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n"),
            ("/sys/bus/pci/devices/0000:01:00.0/class", "0x030200\n"),
            ("/sys/bus/pci/devices/0000:01:00.0/device", "0x2330\n"),
            ("/dev/nvidia0", ""),
            ("/dev/kmsg", "4,339,514,-;NVRM: loading\n"),
            ("/opt/lib/libcuda.so.1", ""),
            ("/opt/lib/python3.11/site-packages/torch/__init__.py", ""),
            ("/opt/lib/python3.11/site-packages/torch/version.py", "__version__ = '2.7.1+cpu'\n"),
            ("/opt/bin/python3", "no program"),
            ("/opt/pyvenv.cfg", "version = 3.11.9\n"),
            ("/etc/cdi/n.json", r#"{"kind": "nvidia.com/gpu", "devices": [{"name": 0}]}"#),
            ("/etc/os-release", "ID=ubuntu\n"),
        ]);
        let facts = collect(&Look {
            root: root.path().into(),
            envs: vec!["/opt".into()],
            run_python: false,
            project: "/".into(),
            ..Look::default()
        });
        assert_eq!(facts.system.distro.as_deref(), Some("ubuntu"));
        assert_eq!(facts.pci.as_ref().map(|told| told.value.len()), Some(1));
        assert!(facts.module.is_some() && facts.loaded.is_some() && facts.kernel_log.is_some());
        assert_eq!(facts.nodes.as_ref().map(|told| told.value.len()), Some(1));
        assert_eq!(facts.loader.libcuda.len(), 1);
        assert_eq!(facts.pythons[0].torch.as_ref().map(|t| t.version.as_str()), Some("2.7.1+cpu"));
        assert_eq!(facts.engines.cdi.as_ref().map(Vec::len), Some(1));
        assert_eq!(facts.env["CUDA_VISIBLE_DEVICES"], "1");
        assert_eq!(facts.job.as_ref().map(|told| told.value.kind.as_str()), Some("slurm"));
        assert!(!facts.services["nvidia-fabricmanager"].value.running);
        assert_eq!(Facts::from_record(&facts.to_record()), Ok(facts.anonymise()));
    }
}
