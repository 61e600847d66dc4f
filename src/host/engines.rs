//! Container engines of a host, and how NVIDIA's toolkit is set up for them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::machine::{Machine, version_in};
use super::{Cdi, Engines, Told, container};
use crate::domain::{DriverVersion, Gather as _};

/// Engines, and how each is asked for its version. None of these asks a daemon.
const ENGINES: &[(&str, &str)] = &[
    ("docker", "--version"),
    ("podman", "--version"),
    ("nerdctl", "--version"),
    ("apptainer", "--version"),
    ("singularity", "--version"),
    ("enroot", "version"),
];

pub(super) fn look(machine: &Machine) -> Engines {
    let mut found = BTreeMap::new();
    for (name, ask) in ENGINES {
        if let Some(path) = machine.which(name) {
            let said = machine.answer(&path, &[ask]).unwrap_or_default();
            // Found and mute is still found.
            found.insert((*name).to_owned(), version_in(&said).unwrap_or_default().to_owned());
        }
    }
    let toolkit = machine.which("nvidia-ctk").and_then(|path| {
        let said = machine.answer(&path, &["--version"])?;
        Some(Told::new(version_in(&said)?.to_owned(), format!("{path} --version")))
    });
    let config = toolkit_config(machine);
    let setting = |table: &[&str], key: &str| {
        let value = table.iter().try_fold(config.as_ref()?, |value, name| value.get(name))?;
        Some(Told::new(value.get(key)?.as_str()?.to_owned(), CONFIG))
    };
    Engines {
        mode: setting(&["nvidia-container-runtime"], "mode"),
        cuda_compat_mode: setting(
            &["nvidia-container-runtime", "modes", "legacy"],
            "cuda-compat-mode",
        ),
        docker_runtime: docker_runtime(machine, found.contains_key("docker")),
        cdi: cdi(machine),
        toolkit,
        found,
    }
}

const CONFIG: &str = "/etc/nvidia-container-runtime/config.toml";

fn toolkit_config(machine: &Machine) -> Option<toml::Value> {
    let text = machine.read(CONFIG)?;
    match toml::from_str(&text) {
        Ok(value) => Some(value),
        Err(err) => {
            machine.missed(CONFIG, err.message());
            None
        }
    }
}

/// Whether a daemon.json names NVIDIA's runtime. Of Docker Desktop, which has its own ways, of a client
/// without a daemon, and of a daemon outside of this container there is nothing to be said.
fn docker_runtime(machine: &Machine, docker: bool) -> Option<Told<bool>> {
    let mut places = vec![
        "/etc/docker/daemon.json".to_owned(),
        "/var/snap/docker/current/config/daemon.json".to_owned(),
    ];
    let home = machine.env("HOME").map(|home| format!("{home}/.config/docker/daemon.json"));
    places.extend(home);
    let mut told = None;
    for place in places {
        let Some(text) = machine.read(&place) else { continue };
        let value: serde_json::Value = match serde_json::from_str(&text) {
            Ok(value) => value,
            Err(err) => {
                machine.missed(&place, format!("no JSON: {err}"));
                return None;
            }
        };
        let named = value.get("runtimes").and_then(|list| list.as_object()).is_some_and(|list| {
            let ours = |runtime: &serde_json::Value| {
                let path = runtime.get("path").and_then(|path| path.as_str());
                path.is_some_and(|path| path.contains("nvidia-container-runtime"))
            };
            list.contains_key("nvidia") || list.values().any(ours)
        });
        if named {
            return Some(Told::new(true, place));
        }
        told.get_or_insert(Told::new(false, place));
    }
    let socket =
        ["/var/run/docker.sock", "/run/docker.sock"].iter().any(|path| machine.exists(path));
    let desktop = machine
        .which("docker")
        .and_then(|path| machine.real(&path))
        .is_some_and(|path| path.contains("docker-desktop") || path.contains("Docker.app"));
    told.or_else(|| {
        (docker && socket && !desktop && !container::is_inside(machine))
            .then(|| Told::new(false, "no daemon.json of Docker"))
    })
}

/// The parts of a CDI specification that name something of the host.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    kind: String,
    devices: Vec<SpecDevice>,
    #[serde(rename = "containerEdits")]
    edits: Edits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SpecDevice {
    name: Name,
    #[serde(rename = "containerEdits")]
    edits: Edits,
}

/// Older writers put the index of a card without quotes.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Name {
    Text(String),
    Number(u64),
}

impl Default for Name {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Edits {
    device_nodes: Vec<SpecNode>,
    mounts: Vec<SpecMount>,
    hooks: Vec<SpecHook>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SpecNode {
    path: String,
    host_path: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SpecMount {
    host_path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SpecHook {
    path: String,
}

/// Specifications of `nvidia.com/gpu`; an empty list where there are none. A container does not see those
/// of its host.
fn cdi(machine: &Machine) -> Option<Vec<Cdi>> {
    const FOLDERS: [&str; 3] = ["/etc/cdi", "/var/run/cdi", "/run/cdi"];
    if container::is_inside(machine) && !FOLDERS.iter().any(|folder| machine.exists(folder)) {
        return None;
    }
    let mut list = Vec::new();
    let mut seen = BTreeSet::new();
    let names =
        |folder| machine.list(folder).unwrap_or_default().into_iter().map(move |n| (folder, n));
    for (folder, name) in FOLDERS.into_iter().flat_map(names) {
        let path = format!("{folder}/{name}");
        let kind = name.rsplit('.').next().unwrap_or_default();
        // /var/run is a link to /run nearly everywhere.
        if !matches!(kind, "json" | "yaml" | "yml") || !seen.insert(machine.real(&path)) {
            continue;
        }
        let Some(text) = machine.read(&path) else { continue };
        let document: Result<serde_json::Value, String> = if kind == "json" {
            text.parse().map_err(|err: serde_json::Error| err.to_string())
        } else {
            crate::yaml::from_str(&text).map_err(|err| err.to_string())
        };
        let spec = document.and_then(|document| {
            serde_json::from_value::<Spec>(document).map_err(|err| err.to_string())
        });
        match spec {
            Ok(spec) if spec.kind == "nvidia.com/gpu" => list.push(summary(machine, path, &spec)),
            Ok(_) => (),
            Err(err) => machine.missed(&path, err),
        }
    }
    Some(list)
}

fn summary(machine: &Machine, path: String, spec: &Spec) -> Cdi {
    let edits = || spec.devices.iter().map(|device| &device.edits).chain([&spec.edits]);
    let mounts =
        edits().flat_map(|edits| edits.mounts.iter().map(|mount| mount.host_path.as_str()));
    // `/usr/lib/x86_64-linux-gnu/libcuda.so.580.65.06`
    let driver = mounts.clone().find_map(|path| {
        path.rsplit_once(".so.")
            .and_then(|(_, v)| v.parse::<DriverVersion>().ok())
            .filter(|v| !v.is_bare_branch())
    });
    let nodes = edits().flat_map(|edits| {
        edits.device_nodes.iter().map(|node| node.host_path.as_deref().unwrap_or(&node.path))
    });
    let hooks = edits().flat_map(|edits| edits.hooks.iter().map(|hook| hook.path.as_str()));
    let named: BTreeSet<&str> = mounts.chain(nodes).chain(hooks).filter(|p| !p.is_empty()).gather();
    let missing =
        named.into_iter().filter(|path| !machine.exists(path)).map(str::to_owned).collect();
    let devices = spec.devices.iter().map(|device| match &device.name {
        Name::Text(name) => name.clone(),
        Name::Number(number) => number.to_string(),
    });
    let age_days = machine.age_days(&path);
    Cdi { devices: devices.collect(), driver, missing, path, age_days }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::machine::tests::machine;

    const CDI: &str = "cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: \"0\"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
- name: all
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
    - path: /dev/nvidia1
containerEdits:
  env: [NVIDIA_VISIBLE_DEVICES=void]
  mounts:
  - hostPath: /usr/lib/libcuda.so.570.133.20
    containerPath: /usr/lib/libcuda.so.570.133.20
    options: [ro]
  hooks:
  - hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
";

    #[test]
    fn a_host_with_docker_and_a_stale_specification() {
        let (_root, machine) = machine(&[
            ("/proc/self/environ", "PATH=/usr/bin\0"),
            ("*/usr/bin/docker", "#!/bin/sh\necho Docker version 28.5.2, build ecc6942\n"),
            ("*/usr/bin/podman", "#!/bin/sh\nexit 1\n"),
            (
                "*/usr/bin/nvidia-ctk",
                "#!/bin/sh\necho NVIDIA Container Toolkit CLI version 1.17.8\n",
            ),
            (
                CONFIG,
                "[nvidia-container-runtime]\nmode = \"auto\"\n[nvidia-container-runtime.modes.legacy]\ncuda-compat-mode = \"ldconfig\"\n",
            ),
            (
                "/etc/docker/daemon.json",
                r#"{"runtimes": {"nvidia": {"args": [], "path": "nvidia-container-runtime"}}}"#,
            ),
            ("/var/run/cdi/nvidia.yaml", CDI),
            ("/etc/cdi/other.json", r#"{"kind": "vendor.com/nic", "devices": [{"name": 1}]}"#),
            ("/etc/cdi/broken.yaml", "kind: [\n"),
            ("/dev/nvidia0", ""),
            ("/usr/bin/nvidia-cdi-hook", ""),
        ]);
        let engines = look(&machine);
        #[cfg(unix)]
        {
            assert_eq!(engines.found["docker"], "28.5.2");
            assert_eq!(engines.found["podman"], "");
            assert_eq!(engines.toolkit.expect("a toolkit").value, "1.17.8");
        }
        assert_eq!(engines.mode.expect("a mode").value, "auto");
        assert_eq!(engines.cuda_compat_mode.expect("a mode").value, "ldconfig");
        assert!(engines.docker_runtime.expect("an answer").value);
        let specs = engines.cdi.expect("specifications");
        assert_eq!(specs.len(), 1);
        assert_eq!(specs[0].devices, ["0", "all"]);
        assert_eq!(specs[0].age_days, Some(0));
        assert_eq!(specs[0].driver.map(|v| v.to_string()).as_deref(), Some("570.133.20"));
        assert_eq!(specs[0].missing, ["/dev/nvidia1", "/usr/lib/libcuda.so.570.133.20"]);
        assert!(machine.all_missed().iter().any(|note| note.what == "/etc/cdi/broken.yaml"));
    }

    #[test]
    fn what_docker_says_of_runtimes() {
        let runtime = |files: &[(&str, &str)]| {
            let (_root, machine) = machine(files);
            docker_runtime(&machine, true).map(|told| (told.value, told.source))
        };
        assert_eq!(runtime(&[]), None);
        let plain = runtime(&[("/etc/docker/daemon.json", "{}")]);
        assert_eq!(plain, Some((false, "/etc/docker/daemon.json".to_owned())));
        assert_eq!(runtime(&[("/var/run/docker.sock", "")]).map(|told| told.0), Some(false));
        assert_eq!(runtime(&[("/var/run/docker.sock", ""), ("/.dockerenv", "")]), None);
        assert_eq!(runtime(&[("/etc/docker/daemon.json", "{")]), None);
        let rootless = [
            ("/proc/self/environ", "HOME=/home/jane\0"),
            ("/etc/docker/daemon.json", "{}"),
            (
                "/home/jane/.config/docker/daemon.json",
                r#"{"runtimes": {"gpu": {"path": "/usr/bin/nvidia-container-runtime"}}}"#,
            ),
        ];
        assert_eq!(runtime(&rootless).map(|told| told.0), Some(true));
    }
}
