//! Facts as a file that replays anywhere, and that tells nothing about who they were taken from.

use crate::domain::Order as _;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::{Answer, Device, Facts, RECORD};

/// Most that is read of a record. A machine with eight cards and four environments has 60 KB.
const MOST: usize = 4 << 20;

/// Most devices of a record: no machine has as many.
const DEVICES: usize = 256;

/// Why a text is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is longer than any record.
    #[error("the record has {0} bytes, more than the {MOST} that are read")]
    TooLong(usize),
    /// It names more devices than any machine has.
    #[error("the record names {0} devices, more than the {DEVICES} that are read")]
    Crowd(usize),
    /// It is something else.
    #[error("this is no record of a machine: {0}")]
    Odd(String),
    /// Another version of this program wrote it.
    #[error("the record has version {found}, and this program reads version {RECORD}")]
    Version {
        /// The number in the record.
        found: u64,
    },
}

impl RecordError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Version { found } if *found > u64::from(RECORD) => {
                "read it with the newer gpuseal that wrote it, or at least as new a one".into()
            }
            _ => "write one with `gpuseal doctor --record FILE` on the machine in question".into(),
        })
    }
}

impl Facts {
    /// The facts as a record: JSON, anonymised, with a newline at its end.
    ///
    /// # Panics
    /// Never: every field of the facts has a form in JSON.
    pub fn to_record(&self) -> String {
        let facts = Self { record: RECORD, ..self.anonymise() };
        // By way of a value: what writes and reads JSON is otherwise there twice for every type.
        let value = serde_json::to_value(&facts).expect("facts have a form in JSON");
        let mut text = serde_json::to_string_pretty(&value).expect("a value is JSON");
        text.push('\n');
        text
    }

    /// Reads a record.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn from_record(text: &str) -> Result<Self, RecordError> {
        if text.len() > MOST {
            return Err(RecordError::TooLong(text.len()));
        }
        let odd = |err: serde_json::Error| RecordError::Odd(err.to_string());
        let value: Value = serde_json::from_str(text).map_err(odd)?;
        match value.get("record").and_then(Value::as_u64) {
            Some(found) if found == u64::from(RECORD) => {
                let facts: Self = serde_json::from_value(value).map_err(odd)?;
                match facts.most_devices() {
                    count if count > DEVICES => Err(RecordError::Crowd(count)),
                    _ => Ok(facts),
                }
            }
            Some(found) => Err(RecordError::Version { found }),
            None => Err(RecordError::Odd("it has no number called `record`".into())),
        }
    }

    /// The length of the longest list with an entry for each device.
    fn most_devices(&self) -> usize {
        let torches = self.pythons.iter().filter_map(|p| p.imported.as_ref()?.told());
        [
            self.pci.as_ref().map(|pci| pci.value.len()),
            self.module.as_ref().map(|module| module.value.models.len()),
            self.nvml.as_ref().and_then(|nvml| nvml.told()).map(|nvml| nvml.devices.len()),
            self.smi.as_ref().and_then(|smi| smi.told()).map(|smi| smi.devices.len()),
            self.cuda.as_ref().and_then(|cuda| cuda.told()).map(|cuda| cuda.devices.len()),
            torches.map(|told| told.products.len()).max(),
        ]
        .into_iter()
        .flatten()
        .max()
        .unwrap_or(0)
    }

    /// The anonymous facts without names of people's programs, for a public report.
    #[must_use]
    pub fn shareable(&self) -> Self {
        let mut facts = self.anonymise();
        let hide = |devices: &mut Vec<Device>| {
            for process in devices.iter_mut().flat_map(|d| d.processes.iter_mut().flatten()) {
                // A service of NVIDIA's is nobody's, and decides what its presence means.
                let service = |name: &String| name.starts_with("nvidia-cuda-mps");
                process.name = process.name.take().filter(service);
            }
        };
        if let Some(Answer::Told(nvml)) = &mut facts.nvml {
            hide(&mut nvml.devices);
        }
        if let Some(Answer::Told(smi)) = &mut facts.smi {
            hide(&mut smi.devices);
        }
        facts
    }

    /// The same facts without what tells whose they are: home folders become `~`; names of the user and
    /// the host, unique ids, serial numbers and addresses of networks go wherever they occur. Process ids
    /// and addresses on the PCI bus stay.
    #[must_use]
    pub fn anonymise(&self) -> Self {
        self.without(&Names::of_this_machine())
    }

    fn without(&self, names: &Names) -> Self {
        let clean = |names: &Names| {
            let mut value = serde_json::to_value(self).ok()?;
            names.clean(&mut value);
            let mut facts: Self = serde_json::from_value(value).ok()?;
            facts.env.retain(|name, _| !is_secret(name));
            // Elsewhere four numbers are a version of cuDNN or cuBLAS.
            let texts = facts.env.iter_mut().filter(|(name, _)| !name.ends_with("VERSION"));
            for (_, text) in texts.filter(|(_, text)| !text.contains('/')) {
                *text = ADDRESS.replace_all(text, "...").into_owned();
            }
            Some(facts)
        };
        // A user called like a word of the record could break it: then their home alone is hidden.
        clean(names)
            .or_else(|| clean(&Names { words: None, ..names.clone() }))
            .unwrap_or_else(|| Self { record: self.record, ..Self::default() })
    }
}

/// Names that must not stand in a record.
#[derive(Debug, Clone)]
struct Names {
    home: Option<String>,
    /// User and host, as whole words.
    words: Option<Regex>,
}

/// Names that half of all machines share: they tell nothing, and the record needs the words.
const COMMON: &[&str] = &[
    "admin",
    "centos",
    "cloud",
    "conda",
    "container",
    "core",
    "cuda",
    "debian",
    "default",
    "docker",
    "driver",
    "fedora",
    "gpu",
    "host",
    "jovyan",
    "kernel",
    "linux",
    "localhost",
    "model",
    "nobody",
    "nvidia",
    "opc",
    "podman",
    "python",
    "pytorch",
    "root",
    "runner",
    "server",
    "system",
    "test",
    "torch",
    "ubuntu",
    "user",
    "users",
    "vagrant",
    "workspace",
];

impl Names {
    fn of_this_machine() -> Self {
        let env = |name: &str| std::env::var(name).ok();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let names = [
            env("USER"),
            env("LOGNAME"),
            env("SUDO_USER"),
            env("USERNAME"),
            env("COMPUTERNAME"),
            host,
        ];
        Self::new(env("HOME").or_else(|| env("USERPROFILE")), names.into_iter().flatten())
    }

    fn new(home: Option<String>, names: impl Iterator<Item = String>) -> Self {
        let mut names: Vec<String> = names
            .map(|name| name.trim().to_owned())
            // `gpu01.cluster.example.org` is called by its first part as well.
            .flat_map(|name| [name.split('.').next().unwrap_or_default().to_owned(), name])
            .filter(|name| name.len() > 2 && !COMMON.contains(&name.to_lowercase().as_str()))
            .filter(|name| !name.bytes().all(|b| b.is_ascii_digit()))
            .map(|name| regex::escape(&name))
            .collect();
        // Of several that begin alike the first would win.
        names.order_by_key(|name| std::cmp::Reverse(name.len()));
        let words = (!names.is_empty())
            .then(|| Regex::new(&format!(r"(?i)\b(?:{})\b", names.join("|"))).ok())
            .flatten();
        Self { home: home.filter(|home| home.len() > 2), words }
    }

    /// Cleans every text below; keys are names of ours, of packages or of variables.
    fn clean(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(list) => list.iter_mut().for_each(|value| self.clean(value)),
            Value::Object(map) => map.iter_mut().for_each(|(_, value)| self.clean(value)),
            _ => (),
        }
    }

    fn text(&self, text: &str) -> String {
        let text = match &self.home {
            Some(home) => text.replace(home.as_str(), "~"),
            None => text.to_owned(),
        };
        let text = HOME.replace_all(&text, |found: &regex::Captures<'_>| {
            // A folder of Google's nodes, and nobody's home.
            if found[0].ends_with("/home/kubernetes") {
                return found[0].to_owned();
            }
            format!("{}~", found.get(1).map_or("", |before| before.as_str()))
        });
        let text = ID.replace_all(&text, "...");
        let text = TOKEN.replace_all(&text, "...");
        let text = USER.replace_all(&text, "://");
        let text = HOST.replace_all(&text, "$1...");
        match &self.words {
            Some(words) => words.replace_all(&text, "...").into_owned(),
            None => text.into_owned(),
        }
    }
}

/// A variable that by its name holds what opens a door.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["API", "TOKEN", "KEY", "SECRET", "PASSWORD"].iter().any(|word| name.contains(word))
}

fn regex(text: &str) -> Regex {
    Regex::new(text).expect("a regex of ours")
}

static HOME: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"(?:/mnt/[a-z])?/(?:home|Users)/[^/\s:;"',]+|[A-Za-z]:\\Users\\[^\\\s"']+|(^|[\s:=])/root\b"#,
    )
});
static ID: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
});
static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"\b(?:hf_|gh[opsu]_|github_pat_|nvapi-|sk-)[A-Za-z0-9_-]{12,}|\bBearer\s+[^\s\x22',;]+")
});
static USER: LazyLock<Regex> = LazyLock::new(|| regex(r"://[^/\s@]+@"));
static HOST: LazyLock<Regex> = LazyLock::new(|| regex(r"(://|@)(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b"));
static ADDRESS: LazyLock<Regex> = LazyLock::new(|| regex(r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b"));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Failure, Nvml, Process, Python, Unread};

    fn names() -> Names {
        let names = ["jane", "gpu-box.lab.example.org", "root", "42"];
        Names::new(Some("/cluster/u/jane".into()), names.iter().map(|name| (*name).to_owned()))
    }

    #[test]
    fn nothing_tells_whose_machine_it_is() {
        let mut facts = Facts { record: RECORD, ..Facts::default() };
        let env = [
            ("LD_LIBRARY_PATH", "/cluster/u/jane/lib:/home/bob/lib:/root/lib:/usr/lib"),
            ("CUDA_VISIBLE_DEVICES", "GPU-01234567-89ab-cdef-0123-456789abcdef"),
            ("NCCL_COMM_ID", "10.1.2.3:4000"),
            ("CUBLAS_VERSION", "12.8.3.14"),
            ("NGC_API_KEY", "opensesame"),
            ("NCCL_DEBUG_FILE", "hf_abcdefghijklmnopqrst nvapi-0123456789abcdef Bearer abc.def=="),
        ];
        facts.env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        facts.pythons = vec![Python {
            path: r"C:\Users\Jane Doe\env\python.exe".into(),
            packages: [("nvidia-cudnn-cu12".to_owned(), "9.1.0.70".to_owned())].into(),
            origins: [("torch".to_owned(), "https://u:p@10.0.0.1/torch.whl".to_owned())].into(),
            ..Python::default()
        }];
        facts.unread = vec![Unread {
            what: "/scratch/Jane/x".into(),
            why: "on gpu-box.lab.example.org".into(),
        }];
        let text = serde_json::to_string(&facts.without(&names())).expect("JSON");
        for word in [
            "jane",
            "bob",
            "/root",
            "gpu-box",
            "lab.example",
            "01234567",
            "10.1.2.3",
            "10.0.0.1",
            "u:p",
            "ngc_api_key",
            "opensesame",
            "hf_abc",
            "nvapi",
            "abc.def",
        ] {
            assert!(!text.to_lowercase().contains(word), "`{word}` in {text}");
        }
        for word in
            ["~/lib:~/lib:~/lib:/usr/lib", "GPU-...", "12.8.3.14", "9.1.0.70", "/scratch/.../x"]
        {
            assert!(text.contains(word), "no `{word}` in {text}");
        }
        let again = facts.without(&names()).without(&names());
        assert_eq!(again, facts.without(&names()));
    }

    #[test]
    fn a_user_called_like_a_word_of_the_record_breaks_nothing() {
        let mut facts = Facts { record: RECORD, ..Facts::default() };
        facts.system.platform = "linux/amd64".parse().ok();
        facts.unread = vec![Unread { what: "/home/amd64/x".into(), why: "no".into() }];
        let names = Names::new(None, ["amd64".to_owned()].into_iter());
        let clean = facts.without(&names);
        assert_eq!(clean.system.platform, facts.system.platform);
        assert_eq!(clean.unread[0].what, "~/x");
    }

    #[test]
    fn a_public_report_names_no_program() {
        let process = |name: &str| Process { pid: 7, name: Some(name.into()), memory: None };
        let device = Device {
            processes: Some(vec![process("secret-project"), process("nvidia-cuda-mps-server")]),
            ..Device::default()
        };
        let nvml = Nvml { devices: vec![device], ..Nvml::default() };
        let facts = Facts { record: RECORD, nvml: Some(Answer::Told(nvml)), ..Facts::default() };
        let text = serde_json::to_string(&facts.shareable()).expect("JSON");
        assert!(!text.contains("secret-project") && text.contains("nvidia-cuda-mps-server"));
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let mut facts = Facts { record: RECORD, ..Facts::default() };
        facts.system.distro = Some("debian".into());
        facts.cuda = Some(crate::host::Answer::Failed(Failure {
            call: "cuInit".into(),
            code: Some(803),
            text: "unsupported combination".into(),
        }));
        let text = facts.to_record();
        assert!(text.starts_with("{\n  \"record\": 1,") && text.ends_with("}\n"));
        assert_eq!(Facts::from_record(&text), Ok(facts.clone()));
        assert_eq!(Facts::from_record(&text).expect("a record").to_record(), text);

        let newer = text.replace("\"record\": 1", "\"record\": 7");
        let err = Facts::from_record(&newer).expect_err("a newer one");
        assert_eq!(err, RecordError::Version { found: 7 });
        assert!(err.to_string().contains('7') && err.to_string().contains('1'));
        let odd = |text: &str| matches!(Facts::from_record(text), Err(RecordError::Odd(_)));
        assert!(
            odd("no JSON") && odd("[]") && odd("{}") && odd("{\"record\": 1, \"invented\": 2}")
        );
        let many = Facts {
            nvml: Some(Answer::Told(Nvml {
                devices: vec![Device::default(); DEVICES + 1],
                ..Default::default()
            })),
            ..facts
        };
        assert_eq!(Facts::from_record(&many.to_record()), Err(RecordError::Crowd(DEVICES + 1)));
        let long = " ".repeat(MOST + 1);
        assert!(matches!(Facts::from_record(&long), Err(RecordError::TooLong(_))));
    }
}
