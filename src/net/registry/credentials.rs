//! The logins that Docker and Podman keep, read from their files or asked of their helpers.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::name::canonical;
use crate::domain::shown;

/// Larger than any list of logins, and than anything a helper says.
const LIMIT: u64 = 1024 * 1024;

/// What Docker calls its own registry in files and towards helpers.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// Where logins are looked for.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Docker's `config.json`, Podman's `auth.json`; the first that has a login counts.
    files: Vec<PathBuf>,
    /// Where helpers are looked for, in the form of `PATH`.
    path: OsString,
}

impl Credentials {
    /// No login at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// Files of this kind, in this order, and helpers from a `PATH`.
    pub fn at(files: Vec<PathBuf>, path: impl Into<OsString>) -> Self {
        Self { files, path: path.into() }
    }

    /// The files that the engines themselves read: `$REGISTRY_AUTH_FILE`, Podman's of this session,
    /// Docker's in `$DOCKER_CONFIG` or the home folder, Podman's lasting one.
    pub fn of(env: impl Fn(&str) -> Option<OsString>, home: Option<&Path>) -> Self {
        let folder = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let docker = folder("DOCKER_CONFIG").or_else(|| home.map(|home| home.join(".docker")));
        let lasting = folder("XDG_CONFIG_HOME").or_else(|| home.map(|home| home.join(".config")));
        let files = [
            env("REGISTRY_AUTH_FILE").filter(|path| !path.is_empty()).map(PathBuf::from),
            folder("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")),
            docker.map(|folder| folder.join("config.json")),
            lasting.map(|folder| folder.join("containers/auth.json")),
        ];
        Self::at(files.into_iter().flatten().collect(), env("PATH").unwrap_or_default())
    }

    /// The login for a repository; whatever goes wrong is a warning, and asking goes on without one.
    pub(super) async fn find(
        &self,
        host: &str,
        repository: &str,
        limit: Duration,
        warn: impl Fn(&str),
    ) -> RegistryAuth {
        for file in &self.files {
            match self.in_file(file, host, repository, limit).await {
                Ok(Some(login)) => return login,
                Ok(None) => (),
                Err(Fault(text)) => {
                    warn(&format!("`{}`: {text}; {host} is asked without it", file.display()));
                }
            }
        }
        RegistryAuth::Anonymous
    }

    async fn in_file(
        &self,
        file: &Path,
        host: &str,
        repository: &str,
        limit: Duration,
    ) -> Result<Option<RegistryAuth>, Fault> {
        let Some(list) = read(file)? else { return Ok(None) };
        let host = canonical(host);
        let helper = best(&list.cred_helpers, host, repository)
            .map(|(key, name)| (name.as_str(), key))
            .or_else(|| list.creds_store.as_deref().map(|name| (name, key_of(host))))
            .filter(|(name, _)| !name.is_empty());
        if let Some((name, key)) = helper
            && let Some(login) = self.ask(name, key, limit).await?
        {
            return Ok(Some(login));
        }
        best(&list.auths, host, repository).map_or(Ok(None), |(_, login)| login.read())
    }

    /// Runs `docker-credential-NAME get`. A helper that has no such login says so by its exit status.
    async fn ask(
        &self,
        name: &str,
        key: &str,
        limit: Duration,
    ) -> Result<Option<RegistryAuth>, Fault> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            username: String,
            secret: String,
        }

        let program = format!("docker-credential-{name}");
        let fault = |text: &str| Fault(format!("`{}` {text}", shown(&program)));
        // A name with a path in it would run any program.
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            return Err(fault("is not the name of a helper"));
        }
        let found = self.program(&program).ok_or_else(|| fault("is not in PATH"))?;
        let talk = async {
            let mut child = tokio::process::Command::new(found)
                .arg("get")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .map_err(|err| fault(&format!("did not start: {err}")))?;
            if let Some(mut stdin) = child.stdin.take() {
                // A helper that does not read is judged by what it says.
                let _ = stdin.write_all(key.as_bytes()).await;
            }
            let mut said = Vec::new();
            if let Some(stdout) = child.stdout.take() {
                stdout
                    .take(LIMIT)
                    .read_to_end(&mut said)
                    .await
                    .map_err(|err| fault(&err.to_string()))?;
            }
            let status = child.wait().await.map_err(|err| fault(&err.to_string()))?;
            Ok((status, said))
        };
        let (status, said) = tokio::time::timeout(limit, talk)
            .await
            .map_err(|_| fault(&format!("did not answer in {} s", limit.as_secs())))??;
        if !status.success() {
            // The words of the helpers' own library; others fail, and the caller has to know.
            let absent = String::from_utf8_lossy(&said).contains("credentials not found");
            return if absent { Ok(None) } else { Err(fault(&format!("failed ({status})"))) };
        }
        // What is wrong with the text is not said: it may hold the secret.
        let answer: Answer =
            serde_json::from_slice(&said).map_err(|_| fault("gave no login that can be read"))?;
        login(answer.username, answer.secret)
            .map(Some)
            .ok_or_else(|| fault("gave an identity token, which is not supported"))
    }

    /// Looks a program up; folders of `PATH` that depend on where we are do not count.
    fn program(&self, name: &str) -> Option<PathBuf> {
        let names = [name.to_owned(), format!("{name}{}", std::env::consts::EXE_SUFFIX)];
        std::env::split_paths(OsStr::new(&self.path))
            .filter(|folder| folder.is_absolute())
            .flat_map(|folder| names.iter().map(move |name| folder.join(name)).collect::<Vec<_>>())
            .find(|path| path.is_file())
    }
}

/// Why a file or a helper gave no login. Never holds a secret.
#[derive(Debug)]
struct Fault(String);

/// `config.json` and `auth.json`, as far as logins go.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct List {
    auths: BTreeMap<String, Login>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

/// A login as it stands in a file.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Login {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

impl Login {
    fn read(&self) -> Result<Option<RegistryAuth>, Fault> {
        if !self.registrytoken.is_empty() {
            return Ok(Some(RegistryAuth::Bearer(self.registrytoken.clone())));
        }
        if !self.identitytoken.is_empty() {
            return Err(Fault("the login is an identity token, which is not supported".into()));
        }
        if !self.auth.is_empty() {
            let text = STANDARD
                .decode(self.auth.trim())
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(|| Fault("the login is not in base64".into()))?;
            // Docker ends some passwords with a NUL.
            let (user, word) = text
                .trim_end_matches('\0')
                .split_once(':')
                .map(|(user, word)| (user.to_owned(), word.to_owned()))
                .ok_or_else(|| Fault("the login has no password".into()))?;
            return Ok(login(user, word));
        }
        // An empty entry says that the helper has it.
        Ok(login(self.username.clone(), self.password.clone()))
    }
}

/// A name and a password; a helper's `<token>` stands for another kind of login.
fn login(user: String, word: String) -> Option<RegistryAuth> {
    (!user.is_empty() && user != "<token>").then_some(RegistryAuth::Basic(user, word))
}

fn read(file: &Path) -> Result<Option<List>, Fault> {
    use std::io::Read as _;

    let open = match fs_err::File::open(file) {
        Ok(open) => open,
        // Most people have one of the files at most.
        Err(err)
            if matches!(
                err.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(err) => return Err(Fault(format!("cannot be opened ({})", err.kind()))),
    };
    // A pipe would keep us waiting.
    if !open.metadata().is_ok_and(|meta| meta.is_file()) {
        return Err(Fault("is no file".into()));
    }
    let mut bytes = Vec::new();
    open.take(LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(|err| Fault(format!("cannot be read ({})", err.kind())))?;
    if bytes.len() as u64 > LIMIT {
        return Err(Fault(format!("is larger than {LIMIT} bytes")));
    }
    // Where, and not what: the text may hold a password.
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|err| Fault(format!("is not understood in line {}", err.line())))
}

/// The entry for a repository: Podman's keys may go on with a path, and the longest counts.
fn best<'a, T>(
    map: &'a BTreeMap<String, T>,
    host: &str,
    repository: &str,
) -> Option<(&'a str, &'a T)> {
    let full = format!("{host}/{repository}");
    map.iter()
        .filter_map(|(key, value)| {
            let plain = plain(key);
            let fits = full.strip_prefix(&plain).is_some_and(|rest| rest.starts_with('/'));
            fits.then_some((plain.len(), (key.as_str(), value)))
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, entry)| entry)
}

/// A key without what clients of long ago put around the host.
fn plain(key: &str) -> String {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest).trim_end_matches('/');
    let rest = rest.strip_suffix("/v1").or_else(|| rest.strip_suffix("/v2")).unwrap_or(rest);
    match rest.split_once('/') {
        Some((host, path)) => format!("{}/{path}", canonical(host)),
        None => canonical(rest).to_owned(),
    }
}

/// What a helper is asked for, where the file names no key.
fn key_of(host: &str) -> &str {
    if host == canonical("index.docker.io") { HUB_KEY } else { host }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// The login that a file gives, and the warnings.
    fn find(text: &str, host: &str, repository: &str) -> (RegistryAuth, Vec<String>) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.json");
        fs_err::write(&file, text).expect("a file");
        found(&Credentials::at(vec![file], ""), host, repository)
    }

    fn found(from: &Credentials, host: &str, repository: &str) -> (RegistryAuth, Vec<String>) {
        let warnings = RefCell::new(Vec::new());
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let login = runtime.block_on(from.find(host, repository, Duration::from_secs(2), |text| {
            warnings.borrow_mut().push(text.to_owned());
        }));
        (login, warnings.into_inner())
    }

    fn basic(user: &str, word: &str) -> RegistryAuth {
        RegistryAuth::Basic(user.into(), word.into())
    }

    #[test]
    fn logins_stand_below_their_host() {
        // `me:pass:word`
        let text = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"bWU6cGFzczp3b3Jk"},
            "registry.example.org/hub":{"username":"hub","password":"h"},
            "registry.example.org":{"username":"all","password":"a"},"ghcr.io":{}}}"#;
        for host in ["docker.io", "registry-1.docker.io"] {
            assert_eq!(find(text, host, "library/python").0, basic("me", "pass:word"));
        }
        assert_eq!(find(text, "registry.example.org", "hub/python").0, basic("hub", "h"));
        assert_eq!(find(text, "registry.example.org", "hubs/python").0, basic("all", "a"));
        assert_eq!(find(text, "ghcr.io", "x"), (RegistryAuth::Anonymous, vec![]));
        assert_eq!(find(text, "registry.example", "x"), (RegistryAuth::Anonymous, vec![]));
    }

    #[test]
    fn what_cannot_be_read_is_a_warning_without_its_text() {
        for text in [
            r#"{"auths":{"ghcr.io":{"auth":"s3cret!"}}}"#,
            r#"{"auths":{"ghcr.io":{"auth":"czNjcmV0"}}}"#,
            r#"{"auths":{"ghcr.io":{"identitytoken":"s3cret"}}}"#,
            r#"{"auths":{"ghcr.io":{"auth":["s3cret"]}}}"#,
            r#"{"credHelpers":{"ghcr.io":"../s3cret"}}"#,
            r#"{"credsStore":"none-of-that-name"}"#,
            "s3cret",
        ] {
            let (login, warnings) = find(text, "ghcr.io", "x");
            assert_eq!(login, RegistryAuth::Anonymous);
            assert_eq!(warnings.len(), 1, "{text}");
            assert!(!warnings[0].contains("s3cret\"") && !warnings[0].contains("s3cret!"));
        }
        let absent = Credentials::at(vec!["/nowhere/at/all.json".into()], "");
        assert_eq!(found(&absent, "ghcr.io", "x"), (RegistryAuth::Anonymous, vec![]));
    }

    #[cfg(unix)]
    #[test]
    fn helpers_are_asked_and_do_not_keep_us_waiting() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().expect("a folder");
        let helper = |name: &str, body: &str| {
            let path = folder.path().join(format!("docker-credential-{name}"));
            fs_err::write(&path, format!("#!/bin/sh\n{body}\n")).expect("a file");
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("rights");
        };
        helper(
            "good",
            r#"read host; printf '{"ServerURL":"x","Username":"%s","Secret":"%s"}' "$1" "$host""#,
        );
        helper("empty", "echo 'credentials not found in native keychain'; exit 1");
        helper("broken", "echo s3cret; exit 1");
        helper("chatty", "echo s3cret");
        helper("token", r#"echo '{"Username":"<token>","Secret":"s3cret"}'"#);
        helper("slow", "exec sleep 60");
        helper("endless", "exec cat /dev/zero");
        let file = folder.path().join("config.json");
        let ask = |text: &str, host: &str| {
            fs_err::write(&file, text).expect("a file");
            found(&Credentials::at(vec![file.clone()], folder.path()), host, "x")
        };
        let store = |name: &str| ask(&format!(r#"{{"credsStore":"{name}"}}"#), "ghcr.io");
        assert_eq!(store("good").0, basic("get", "ghcr.io"));
        let hub = ask(r#"{"credsStore":"good"}"#, "registry-1.docker.io");
        assert_eq!(hub.0, basic("get", HUB_KEY));
        let named = r#"{"credsStore":"broken","credHelpers":{"ghcr.io":"good"}}"#;
        assert_eq!(ask(named, "ghcr.io"), (basic("get", "ghcr.io"), vec![]));
        assert_eq!(store("empty"), (RegistryAuth::Anonymous, vec![]));
        for name in ["broken", "chatty", "token", "slow", "endless"] {
            let (login, warnings) = store(name);
            assert_eq!(login, RegistryAuth::Anonymous);
            assert_eq!(warnings.len(), 1, "{name}");
            assert!(warnings[0].contains(name) && !warnings[0].contains("s3cret"), "{warnings:?}");
        }
    }

    #[test]
    fn files_are_where_the_engines_keep_them() {
        let env = |name: &str| {
            let value = match name {
                "REGISTRY_AUTH_FILE" => "/a/auth.json",
                "XDG_RUNTIME_DIR" => "/run/user/1",
                "PATH" => "/bin",
                _ => return None,
            };
            Some(value.into())
        };
        let of = Credentials::of(env, Some(Path::new("/home/me")));
        let files: Vec<_> = of.files.iter().map(|file| file.to_string_lossy()).collect();
        assert_eq!(
            files,
            [
                "/a/auth.json",
                "/run/user/1/containers/auth.json",
                "/home/me/.docker/config.json",
                "/home/me/.config/containers/auth.json"
            ]
        );
    }
}
