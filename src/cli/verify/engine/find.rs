//! Which engine answers here, and what it knows of an image.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::domain::shown;
use crate::error::Error;
use crate::host::child;

/// An engine asks its daemon, which may be starting.
const ASKED: Duration = Duration::from_secs(30);

/// A kind of engine: how its command line reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Docker,
    Podman,
    Nerdctl,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Docker, Self::Podman, Self::Nerdctl];

    /// Its program.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Nerdctl => "nerdctl",
        }
    }
}

/// An engine that answers.
#[derive(Debug)]
pub struct Engine {
    pub kind: Kind,
    /// Its program, as it is started.
    pub program: String,
    /// What it says of itself; null of one that was not asked.
    info: Value,
}

impl Engine {
    /// One that is not here: for a line that is only printed.
    pub fn assumed(named: Option<&str>) -> Self {
        let program = named.unwrap_or(Kind::Docker.word()).to_owned();
        Self { kind: kind(&program).unwrap_or(Kind::Docker), program, info: Value::Null }
    }

    /// One that says this of itself.
    #[cfg(test)]
    pub fn told(kind: Kind, info: Value) -> Self {
        Self { kind, program: kind.word().to_owned(), info }
    }

    /// A runtime of NVIDIA's is set up.
    pub fn has_nvidia_runtime(&self) -> bool {
        let runtimes = self.info["Runtimes"].as_object();
        runtimes.is_some_and(|all| {
            all.iter().any(|(name, of)| {
                let path = of["path"].as_str().unwrap_or_default();
                name == "nvidia" || path.contains("nvidia-container-runtime")
            })
        })
    }

    /// It looks for CDI specifications.
    pub fn reads_cdi(&self) -> bool {
        self.info["CDISpecDirs"].as_array().is_some_and(|folders| !folders.is_empty())
    }

    /// Cards of NVIDIA's that it has found in CDI specifications: `0`, `all`.
    pub fn cdi_devices(&self) -> impl Iterator<Item = &str> {
        let found = self.info["DiscoveredDevices"].as_array().into_iter().flatten();
        found.filter_map(|device| device["ID"].as_str()?.strip_prefix("nvidia.com/gpu="))
    }
}

/// The kind that a program has by its name.
fn kind(program: &str) -> Option<Kind> {
    let name = Path::new(program).file_name()?.to_str()?;
    Kind::ALL.into_iter().find(|kind| kind.word() == name)
}

/// The engine that was named, or the first that answers; else why none does.
///
/// # Errors
/// What was named is no engine.
pub fn find(named: Option<&str>) -> Result<Result<Engine, Vec<String>>, Error> {
    let wanted: Vec<(Kind, String)> = match named {
        None => Kind::ALL.map(|kind| (kind, kind.word().to_owned())).into(),
        Some(program) => {
            let kind = kind(program).ok_or_else(|| Error::Usage {
                message: format!("--engine: `{}` is no container engine", shown(program)),
                help: Some("docker, podman or nerdctl, or the path of one of these".into()),
            })?;
            vec![(kind, program.to_owned())]
        }
    };
    let mut why = Vec::new();
    for (kind, program) in wanted {
        match ask(kind, program) {
            Ok(engine) => return Ok(Ok(engine)),
            Err(text) => why.push(text),
        }
    }
    Ok(Err(why))
}

fn ask(kind: Kind, program: String) -> Result<Engine, String> {
    let ran = child::run(&program, &["info", "--format", "{{json .}}"], "", ASKED);
    let ran = ran.map_err(|err| match err.kind() {
        std::io::ErrorKind::NotFound => format!("{program}: not found"),
        _ => format!("{program}: {err}"),
    })?;
    let info: Value = ran.stdout.trim().parse().unwrap_or_default();
    if ran.success() && info.is_object() {
        // podman answers under the name of docker, too.
        let kind = if info["host"].is_object() { Kind::Podman } else { kind };
        return Ok(Engine { kind, program, info });
    }
    let said = ran.stderr.lines().map(str::trim).rfind(|line| !line.is_empty());
    let said = said.or_else(|| info["ServerErrors"][0].as_str());
    Err(match (ran.status, said) {
        (None, _) => format!("{program}: no answer within {} s", ASKED.as_secs()),
        (_, Some(said)) => format!("{program}: {}", said.replace(char::is_control, " ")),
        (Some(status), None) => format!("{program}: {status}"),
    })
}

/// An image, as its engine knows it.
#[derive(Debug, Default)]
pub struct Image {
    /// `sha256:...`: of its manifest where that is known, else of its configuration.
    pub digest: Option<String>,
    /// `linux/amd64`
    pub platform: Option<String>,
    /// Who runs it.
    pub user: String,
}

/// Asks for an image.
///
/// # Errors
/// What the engine says instead.
pub fn inspect(engine: &Engine, name: &str) -> Result<Image, String> {
    let ran = child::run(&engine.program, &["image", "inspect", name], "", ASKED);
    let ran = ran.map_err(|err| err.to_string())?;
    let all: Value = ran.stdout.trim().parse().unwrap_or_default();
    let of = &all[0];
    if !ran.success() || !of.is_object() {
        return Err(ran.stderr);
    }
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let platform = text(&of["Os"])
        .zip(text(&of["Architecture"]))
        .map(|(os, machine)| format!("{os}/{machine}"));
    let user = text(&of["Config"]["User"]).or_else(|| text(&of["User"])).unwrap_or_default();
    Ok(Image { digest: digest(of, name), platform, user })
}

/// What identifies the image everywhere, and not only here.
fn digest(of: &Value, name: &str) -> Option<String> {
    let listed = of["RepoDigests"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut listed = listed.filter_map(|whole| whole.rsplit_once('@'));
    // The repository without tag and digest; the engine may write it with the registry in front.
    let name = name.split('@').next().unwrap_or(name);
    let tagged = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
    let repository = tagged.map_or(name, |(repository, _)| repository);
    let ours = |known: &str| {
        known.strip_suffix(repository).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
    };
    let mut first = None;
    let exact = listed.find_map(|(known, digest)| {
        first.get_or_insert(digest);
        ours(known).then_some(digest)
    });
    let own = exact.or(first).or(of["Digest"].as_str()).or(of["Id"].as_str());
    own.filter(|digest| !digest.is_empty()).map(|digest| {
        // podman writes the identity without its kind.
        if digest.contains(':') { digest.to_owned() } else { format!("sha256:{digest}") }
    })
}
