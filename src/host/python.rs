//! Python environments: where they are, what is installed in them, and which torch.
//!
//! Files come first and nothing of them is executed; where Python may be run, its own `sys.path` replaces
//! the folders that are guessed here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use super::collect::Look;
use super::machine::Machine;
use super::{Python, TorchFiles, torch};
use crate::domain::normalise_name;

/// More environments than this are read, and not run.
const MOST_RUN: usize = 4;

/// Every environment that is given, or else active, the project's own, or on PATH; each once.
pub(super) fn look(machine: &Machine, look: &Look) -> Vec<Python> {
    let (mut seen, mut ran) = (Vec::new(), Vec::new());
    let mut list: Vec<Python> = Vec::new();
    for (path, source) in candidates(machine, look) {
        let Some(place) = Place::of(machine, &path) else {
            // Something that was named by hand or by a variable has to be there.
            if source != ".venv" {
                machine.missed(&path, format!("no Python is there ({source})"));
            }
            continue;
        };
        let key = (machine.real(&place.prefix), machine.real(&place.interpreter));
        if seen.contains(&key) {
            continue;
        }
        seen.push(key);
        let (prefix, python) =
            place.describe(machine, source, look.run_python && list.len() < MOST_RUN);
        // `python` and `python3` may be two wrappers of one, which only running them tells.
        let told = (Some(prefix), python.version.clone());
        if python.imported.is_none() || !ran.contains(&told) {
            list.push(python);
        }
        ran.push(told);
    }
    list
}

/// Interpreters and folders of environments, with how they were found.
fn candidates(machine: &Machine, look: &Look) -> Vec<(String, String)> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let absolute =
        |path: &Path| text(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    let mut list = Vec::new();
    let mut add = |path: String, source: &str| list.push((path, source.to_owned()));
    for env in &look.envs {
        // `python3.12` alone is a program, unless it lies here.
        let program = (env.components().count() == 1 && !machine.at(env).exists())
            .then(|| machine.which(&text(env)))
            .flatten();
        add(program.unwrap_or_else(|| absolute(env)), "--env");
    }
    if !look.envs.is_empty() {
        return list;
    }
    for name in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        if let Some(path) = machine.env(name) {
            add(path.to_owned(), name);
        }
    }
    if let Some(path) = machine.env("UV_PROJECT_ENVIRONMENT") {
        add(absolute(&look.project.join(path)), "UV_PROJECT_ENVIRONMENT");
    }
    add(absolute(&look.project.join(".venv")), ".venv");
    for name in ["python3", "python"] {
        if let Some(path) = machine.which(name) {
            add(path, "PATH");
        }
    }
    list
}

/// An interpreter and the environment that it belongs to.
struct Place {
    interpreter: String,
    prefix: String,
}

/// Where interpreters lie in an environment, on Linux and on Windows.
const INTERPRETERS: &[&str] = &["bin/python3", "bin/python", "Scripts/python.exe", "python.exe"];

impl Place {
    fn of(machine: &Machine, path: &str) -> Option<Self> {
        if machine.is_folder(path) {
            let inside = |prefix: &str| {
                let mut list = INTERPRETERS.iter().map(|name| format!("{prefix}/{name}"));
                let interpreter = list.find(|file| machine.is_file(file))?;
                Some(Self { interpreter, prefix: prefix.to_owned() })
            };
            let path = path.trim_end_matches('/');
            return inside(path).or_else(|| inside(&format!("{path}/.venv")));
        }
        if !machine.is_file(path) {
            return None;
        }
        let above = |path: &str| Some(Path::new(path).parent()?.to_string_lossy().into_owned());
        let is_environment = |folder: &String| {
            machine.exists(&format!("{folder}/pyvenv.cfg"))
                || machine.exists(&format!("{folder}/conda-meta"))
        };
        let bin = above(path)?;
        // A venv's interpreter is a link to the one it was made with: the link is what counts.
        let prefix = above(&bin)
            .filter(&is_environment)
            .or_else(|| Some(bin).filter(&is_environment))
            .or_else(|| above(&above(&machine.real(path)?)?))?;
        Some(Self { interpreter: path.to_owned(), prefix })
    }

    fn describe(&self, machine: &Machine, source: String, run: bool) -> (String, Python) {
        let heard = run.then(|| torch::ask(machine, &self.interpreter));
        let prefix = heard.as_ref().and_then(|heard| heard.prefix.clone());
        let prefix = prefix.unwrap_or_else(|| self.prefix.clone());
        let config = Config::read(machine, &prefix);
        let version = heard.as_ref().and_then(|heard| heard.version.clone());
        let version =
            version.or_else(|| config.version.clone()).or_else(|| self.version(machine, &prefix));
        let folders = match heard.as_ref().and_then(|heard| heard.path.clone()) {
            Some(path) => path,
            None => folders(machine, &prefix, &config, version.as_deref()),
        };
        if folders.iter().all(|folder| !machine.is_folder(folder)) {
            machine
                .missed(&self.interpreter, "where it keeps its packages is known only to itself");
        }
        let (packages, origins) = packages(machine, &prefix, &folders);
        let python = Python {
            path: self.interpreter.clone(),
            kind: config.kind.to_owned(),
            version,
            source,
            packages,
            origins,
            torch: torch_files(machine, &folders),
            folders,
            imported: heard.map(|heard| heard.torch),
        };
        (prefix, python)
    }

    /// From the interpreter's name, or that of conda's record.
    fn version(&self, machine: &Machine, prefix: &str) -> Option<String> {
        let records = machine.list(&format!("{prefix}/conda-meta")).unwrap_or_default();
        let record = records.iter().find_map(|name| {
            let version = name.strip_prefix("python-")?.split('-').next()?;
            version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
        });
        record.or_else(|| {
            let real = machine.real(&self.interpreter)?;
            let version = real.rsplit('/').next()?.strip_prefix("python")?.trim_end_matches(".exe");
            version.contains('.').then(|| version.to_owned())
        })
    }
}

/// The folders of `sys.path` that hold packages, in its order.
fn folders(machine: &Machine, prefix: &str, config: &Config, version: Option<&str>) -> Vec<String> {
    let minor = version.map(|version| version.splitn(3, '.').take(2).collect::<Vec<_>>().join("."));
    let by_user = machine.env("PYTHONPATH").unwrap_or_default();
    let mut list: Vec<String> = std::env::split_paths(by_user)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.to_string_lossy().into_owned())
        .collect();
    let of_user = machine.env("HOME").zip(minor.as_ref());
    let user_counts = config.kind != "venv" && config.kind != "uv" || config.base.is_some();
    if let Some((home, minor)) =
        of_user.filter(|_| user_counts && machine.env("PYTHONNOUSERSITE").is_none())
    {
        list.push(format!("{home}/.local/lib/python{minor}/site-packages"));
    }
    let mut add = |prefix: &str| {
        for lib in ["lib", "lib64", "local/lib"] {
            for name in machine.list(&format!("{prefix}/{lib}")).unwrap_or_default() {
                // Of a system with several Pythons only this one's; `python3` is Debian's for all.
                let ours = name.strip_prefix("python").is_some_and(|rest| {
                    rest == "3"
                        || minor.as_ref().map_or(rest.starts_with("3."), |minor| rest == minor)
                });
                for packages in ["site-packages", "dist-packages"].iter().filter(|_| ours) {
                    list.push(format!("{prefix}/{lib}/{name}/{packages}"));
                }
            }
        }
        list.push(format!("{prefix}/Lib/site-packages"));
    };
    add(prefix);
    if let Some(base) = &config.base {
        add(base);
    }
    let mut seen = Vec::new();
    list.retain(|folder| {
        let real = machine.real(folder);
        let fresh = real.is_some() && !seen.contains(&real);
        seen.push(real);
        fresh && machine.is_folder(folder)
    });
    list
}

/// What `pyvenv.cfg` says.
struct Config {
    kind: &'static str,
    version: Option<String>,
    /// Prefix of the Python beneath, where its packages are seen too.
    base: Option<String>,
}

impl Config {
    fn read(machine: &Machine, prefix: &str) -> Self {
        let Some(text) = machine.read(&format!("{prefix}/pyvenv.cfg")) else {
            let conda = machine.exists(&format!("{prefix}/conda-meta"));
            return Self {
                kind: if conda { "conda" } else { "system" },
                version: None,
                base: None,
            };
        };
        let value = |key: &str| {
            text.lines().find_map(|line| {
                let (name, value) = line.split_once('=')?;
                (name.trim() == key).then(|| value.trim().to_owned())
            })
        };
        let sees_base =
            value("include-system-site-packages").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let home = value("home").filter(|_| sees_base);
        Self {
            kind: if value("uv").is_some() { "uv" } else { "venv" },
            // `3.12.4.final.0`, where virtualenv wrote it.
            version: value("version")
                .or_else(|| value("version_info"))
                .map(|version| version.splitn(4, '.').take(3).collect::<Vec<_>>().join(".")),
            base: home.and_then(|home| {
                Some(PathBuf::from(home).parent()?.to_string_lossy().into_owned())
            }),
        }
    }
}

/// Whether a package has a say in what runs on the GPU.
fn matters(name: &str) -> bool {
    const STARTS: &[&str] = &[
        "causal-conv1d",
        "cuda-",
        "cudnn",
        "cupy",
        "faiss",
        "flash-attn",
        "flashinfer",
        "jax",
        "mamba-ssm",
        "nvidia-",
        "onnxruntime",
        "pytorch",
        "tensorflow",
        "tensorrt",
        "torch",
        "transformer-engine",
        "triton",
        "vllm",
    ];
    const NAMES: &[&str] = &[
        "accelerate",
        "apex",
        "auto-gptq",
        "autoawq",
        "bitsandbytes",
        "ctranslate2",
        "cudatoolkit",
        "deepspeed",
        "diffusers",
        "exllamav2",
        "faster-whisper",
        "lightning",
        "libtorch",
        "llama-cpp-python",
        "nccl",
        "numba",
        "numpy",
        "peft",
        "sageattention",
        "sglang",
        "transformers",
        "unsloth",
        "xformers",
    ];
    STARTS.iter().any(|start| name.starts_with(start)) || NAMES.contains(&name)
}

type Texts = BTreeMap<String, String>;

/// Packages that matter and their versions, by the names of their records; and where each came from.
fn packages(machine: &Machine, prefix: &str, folders: &[String]) -> (Texts, Texts) {
    let (mut packages, mut origins) = (Texts::new(), Texts::new());
    for folder in folders {
        for record in machine.list(folder).unwrap_or_default() {
            let Some(name) =
                record.strip_suffix(".dist-info").or_else(|| record.strip_suffix(".egg-info"))
            else {
                continue;
            };
            let Some((name, version)) = name.split_once('-') else { continue };
            let name = normalise_name(name);
            // `torch-2.5.1-py3.12.egg-info`; the first on the path is the one that is imported.
            let version = version.split("-py").next().unwrap_or(version);
            if !matters(&name) || packages.contains_key(&name) {
                continue;
            }
            if let Some(origin) = origin(machine, &format!("{folder}/{record}/direct_url.json")) {
                origins.insert(name.clone(), origin);
            }
            packages.insert(name, version.to_owned());
        }
    }
    // conda's own record names what has no metadata of Python: cudatoolkit, cuda-version, cudnn.
    let folder = format!("{prefix}/conda-meta");
    for record in machine.list(&folder).unwrap_or_default() {
        let Some(stem) = record.strip_suffix(".json") else { continue };
        let mut parts = stem.rsplitn(3, '-');
        let (Some(build), Some(version), Some(name)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if !matters(name) {
            continue;
        }
        if matches!(name, "pytorch" | "libtorch" | "pytorch-gpu") {
            origins.insert(name.to_owned(), format!("conda, build {build}"));
        }
        packages.entry(name.to_owned()).or_insert_with(|| version.to_owned());
    }
    (packages, origins)
}

/// The address of a direct_url.json, without what stands before an `@`.
fn origin(machine: &Machine, path: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(&machine.read(path)?).ok()?;
    let mut url = url::Url::parse(value.get("url")?.as_str()?).ok()?;
    // What has no host has no user either.
    let _ = (url.set_username(""), url.set_password(None));
    url.set_query(None);
    Some(url.into())
}

static SAYS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?m)^(__version__|cuda|hip)\s*(?::[^=\n]*)?=\s*['"]([^'"\n]*)['"]"#)
        .expect("a regex")
});

/// torch as its version.py tells, which is read and not run.
fn torch_files(machine: &Machine, folders: &[String]) -> Option<TorchFiles> {
    let mut copies = folders.iter().map(|folder| format!("{folder}/torch")).filter(|torch| {
        // A folder without code is what a broken removal leaves behind.
        machine.is_file(&format!("{torch}/__init__.py"))
    });
    let first = copies.next()?;
    let others = copies.collect();
    let text = machine.read(&format!("{first}/version.py"))?;
    let says = |key: &str| {
        let found = SAYS.captures_iter(&text).find(|found| &found[1] == key)?;
        Some(found[2].to_owned())
    };
    let cuda = says("cuda").and_then(|cuda| cuda.parse().ok());
    Some(TorchFiles { version: says("__version__")?, cuda, hip: says("hip"), others })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::host::Answer;
    use crate::host::machine::tests::machine;

    fn look_at(machine: &Machine, envs: &[&str], run_python: bool) -> Vec<Python> {
        let envs = envs.iter().map(PathBuf::from).collect();
        look(machine, &Look { envs, run_python, project: "/src/app".into(), ..Look::default() })
    }

    const VERSION: &str = "from typing import Optional\n\n__version__ = '2.7.1+cu128'\ndebug = False\ncuda: Optional[str] = '12.8'\ngit_version = 'e2d'\nhip: Optional[str] = None\n";

    #[test]
    fn every_environment_once_and_what_it_holds() {
        let site = "/src/app/.venv/lib/python3.12/site-packages";
        let at = |name: &str| format!("{site}/{name}");
        let (_root, machine) = machine(&[
            ("/proc/self/environ", "PATH=/usr/bin\0VIRTUAL_ENV=/src/app/.venv\0HOME=/home/jane\0"),
            (
                "/src/app/.venv/pyvenv.cfg",
                "home = /usr/bin\nuv = 0.9.2\nversion_info = 3.12.4.final.0\ninclude-system-site-packages = false\n",
            ),
            ("/src/app/.venv/bin/python3", "->../../../../usr/bin/python3.12"),
            ("/src/app/.venv/bin/python", "->python3"),
            ("*/usr/bin/python3.12", "#!/bin/sh\nexit 1\n"),
            ("/usr/bin/python3", "->python3.12"),
            ("/usr/lib/python3/dist-packages/numpy-1.26.4.dist-info/METADATA", ""),
            ("/usr/lib/python3.11/dist-packages/torch-1.0.dist-info/METADATA", ""),
            ("/home/jane/.local/lib/python3.12/site-packages/torch/__init__.py", ""),
            (
                "/home/jane/.local/lib/python3.12/site-packages/torch/version.py",
                "__version__ = '2.0.0'\ncuda = None\n",
            ),
            (&at("torch/__init__.py"), ""),
            (&at("torch/version.py"), VERSION),
            (
                &at("torch-2.7.1+cu128.dist-info/direct_url.json"),
                r#"{"url": "https://me:secret@mirror.example.org/torch.whl?sig=1", "archive_info": {}}"#,
            ),
            (&at("flash_attn-2.8.3.dist-info/METADATA"), ""),
            (&at("nvidia_cudnn_cu12-9.7.1.26.dist-info/METADATA"), ""),
            (&at("requests-2.32.0.dist-info/METADATA"), ""),
        ]);
        let list = look_at(&machine, &[], false);
        let told: Vec<_> = list
            .iter()
            .map(|p| (p.path.as_str(), p.kind.as_str(), p.version.as_deref(), p.source.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("/src/app/.venv/bin/python3", "uv", Some("3.12.4"), "VIRTUAL_ENV"),
                ("/usr/bin/python3", "system", Some("3.12"), "PATH"),
            ]
        );
        let packages: Vec<_> = list[0].packages.iter().map(|(n, v)| format!("{n} {v}")).collect();
        assert_eq!(
            packages,
            ["flash-attn 2.8.3", "nvidia-cudnn-cu12 9.7.1.26", "torch 2.7.1+cu128"]
        );
        assert_eq!(list[0].origins["torch"], "https://mirror.example.org/torch.whl");
        let torch = list[0].torch.as_ref().expect("torch");
        assert_eq!((torch.version.as_str(), torch.hip.as_deref()), ("2.7.1+cu128", None));
        assert_eq!(torch.cuda.map(|cuda| cuda.to_string()).as_deref(), Some("12.8"));
        assert_eq!(list[0].imported, None);
        // The system's sees the packages of its user, and not those of another Python.
        let torch = list[1].torch.as_ref().expect("torch");
        assert_eq!((torch.version.as_str(), torch.cuda), ("2.0.0", None));
        assert_eq!(list[1].packages.keys().collect::<Vec<_>>(), ["numpy"]);
    }

    #[test]
    fn conda_a_second_torch_and_what_is_given() {
        let (_root, machine) = machine(&[
            ("/proc/self/environ", "CONDA_PREFIX=/opt/conda\0PYTHONPATH=/extra\0"),
            ("*/opt/conda/bin/python3", "#!/bin/sh\nexit 1\n"),
            ("/opt/conda/conda-meta/python-3.11.9-h9_0.json", "{}"),
            ("/opt/conda/conda-meta/pytorch-2.5.1-py3.11_cuda12.4_cudnn9.1.0_0.json", "{}"),
            ("/opt/conda/conda-meta/cuda-version-12.4-h_3.json", "{}"),
            ("/opt/conda/lib/python3.11/site-packages/torch/__init__.py", ""),
            ("/opt/conda/lib/python3.11/site-packages/torch/version.py", VERSION),
            ("/extra/torch/__init__.py", ""),
            ("/extra/torch/version.py", "__version__ = '2.1.0'\n"),
            ("/extra/torchvision/", ""),
        ]);
        let list = look_at(&machine, &[], false);
        assert_eq!((list[0].kind.as_str(), list[0].version.as_deref()), ("conda", Some("3.11.9")));
        assert_eq!(list[0].packages["cuda-version"], "12.4");
        assert_eq!(list[0].origins["pytorch"], "conda, build py3.11_cuda12.4_cudnn9.1.0_0");
        let torch = list[0].torch.as_ref().expect("torch");
        assert_eq!(torch.version, "2.1.0");
        assert_eq!(torch.others, ["/opt/conda/lib/python3.11/site-packages/torch"]);
        // What is given is looked at, and nothing else; what is not there is said.
        let given = look_at(&machine, &["/opt/conda/bin/python3", "/no/such/place"], false);
        assert_eq!((given.len(), given[0].source.as_str()), (1, "--env"));
        assert!(machine.all_missed().iter().any(|note| note.what == "/no/such/place"));
    }

    #[test]
    fn python_itself_knows_best() {
        let script = "#!/bin/sh\ncat >/dev/null\n\
            echo '@gpuseal {\"python\": \"3.10.13\", \"prefix\": \"/real\", \"path\": [\"/real/site\"]}'\n\
            echo '@gpuseal {\"absent\": true, \"failed\": \"no torch\"}'\n";
        let (_root, machine) = machine(&[
            ("/proc/self/environ", "PATH=/shims\0"),
            ("*/shims/python3", script),
            ("*/shims/python", script),
            ("/real/site/numpy-2.1.0.dist-info/METADATA", ""),
        ]);
        let list = look_at(&machine, &[], true);
        assert_eq!(list.len(), 1);
        assert_eq!(list[0].version.as_deref(), Some("3.10.13"));
        assert_eq!(list[0].packages["numpy"], "2.1.0");
        assert_eq!(list[0].imported, Some(Answer::Absent("no torch".into())));
        assert_eq!(machine.all_missed(), []);
        // Not run, such a wrapper tells nothing, and that is said.
        look_at(&machine, &[], false);
        assert_eq!(machine.all_missed()[1].what, "/shims/python3");
    }
}
