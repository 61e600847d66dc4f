//! Who asks: user and password from the URL, from netrc, from the keyring.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use netrc::Netrc;
use tokio::io::AsyncReadExt as _;
use url::Url;

use super::place::{Origin, bare, masked};

/// Whether the keyring is asked for passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keyring {
    /// Never.
    #[default]
    Off,
    /// By its command, for a URL that names a user and no password: `keyring get URL USER`.
    Subprocess,
}

/// A keyring that wants to talk to somebody is not waited for.
const KEYRING_LIMIT: Duration = Duration::from_secs(10);
/// No password is longer.
const LONGEST: u64 = 64 * 1024;
/// No netrc is larger.
const LARGEST_NETRC: u64 = 1 << 20;

/// Who wrote a URL. What a page has in its links is good for that link, and for nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrote {
    /// The user, as the address of an index.
    User,
    /// A server, as a link.
    Server,
}

/// A user and a password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub user: String,
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(****)")
    }
}

/// Finds credentials, and remembers those of an index for the rest of its server: the links of its
/// pages do not repeat them.
#[derive(Debug, Default)]
pub(super) struct Auth {
    keyring: Keyring,
    netrc: OnceLock<Option<Netrc>>,
    known: Mutex<Vec<Known>>,
    asked: tokio::sync::Mutex<BTreeMap<(Origin, String), Option<String>>>,
}

/// Credentials that stood in the address of an index.
#[derive(Debug, Clone)]
struct Known {
    origin: Origin,
    /// Path up to the last `/`.
    below: String,
    credentials: Credentials,
}

impl Auth {
    pub(super) fn new(keyring: Keyring) -> Self {
        Self { keyring, ..Self::default() }
    }

    /// What to sign a request with. What goes wrong on the way is told to `warn`.
    pub(super) async fn of(
        &self,
        url: &Url,
        wrote: Wrote,
        warn: &(dyn Fn(&str) + Sync),
    ) -> Option<Credentials> {
        let origin = Origin::of(url)?;
        let user = decoded(url.username());
        if let Some(password) = url.password() {
            let found = Credentials { user, password: decoded(password) };
            if wrote == Wrote::User {
                self.remember(origin, url, &found);
            }
            return Some(found);
        }
        if let Some(known) = self.known(&origin, url, &user) {
            return Some(known);
        }
        let netrc = self.netrc(url, warn);
        if user.is_empty() {
            return netrc;
        }
        let password = match netrc.filter(|found| found.user == user) {
            Some(found) => Some(found.password),
            None if wrote == Wrote::Server => None,
            None => self.keyring(&origin, url, &user, warn).await,
        };
        // Tokens are often written as the user alone.
        let found = Credentials { user, password: password.unwrap_or_default() };
        if wrote == Wrote::User {
            self.remember(origin, url, &found);
        }
        Some(found)
    }

    fn remember(&self, origin: Origin, url: &Url, credentials: &Credentials) {
        let below = folder(url);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < 1000 && !known.iter().any(|k| k.origin == origin && k.below == below) {
            known.push(Known { origin, below, credentials: credentials.clone() });
        }
    }

    /// Of those who are known at the server: the one whose folder is nearest, or the only one.
    fn known(&self, origin: &Origin, url: &Url, user: &str) -> Option<Credentials> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let fits: Vec<&Known> = known
            .iter()
            .filter(|k| k.origin == *origin && (user.is_empty() || k.credentials.user == user))
            .collect();
        let nearest =
            fits.iter().filter(|k| url.path().starts_with(&k.below)).max_by_key(|k| k.below.len());
        let found = match nearest {
            Some(found) => found,
            None if fits.windows(2).all(|two| two[0].credentials == two[1].credentials) => {
                fits.first()?
            }
            None => return None,
        };
        Some(found.credentials.clone())
    }

    fn netrc(&self, url: &Url, warn: &dyn Fn(&str)) -> Option<Credentials> {
        let netrc = self.netrc.get_or_init(|| read_netrc(&Netrc::get_file()?, warn)).as_ref()?;
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']');
        let found = netrc.hosts.get(host).or_else(|| netrc.hosts.get("default"))?;
        Some(Credentials { user: found.login.clone(), password: found.password.clone() })
    }

    /// Asked once for each user of a server, whatever comes of it.
    async fn keyring(
        &self,
        origin: &Origin,
        url: &Url,
        user: &str,
        warn: &(dyn Fn(&str) + Sync),
    ) -> Option<String> {
        if self.keyring == Keyring::Off {
            return None;
        }
        let mut asked = self.asked.lock().await;
        let key = (origin.clone(), user.to_owned());
        if let Some(known) = asked.get(&key) {
            return known.clone();
        }
        let mut found = None;
        // Services are stored under the address of the index or under its host, as pip and uv do.
        let mut page = bare(url);
        page.set_query(None);
        let host = url.host_str().unwrap_or_default();
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        for service in [page.as_str(), &host] {
            match run_keyring(service, user).await {
                Ok(Some(password)) => {
                    found = Some(password);
                    break;
                }
                Ok(None) => (),
                Err(reason) => {
                    warn(&format!("the keyring gave no password for `{}`: {reason}", masked(url)));
                    break;
                }
            }
        }
        asked.insert(key, found.clone());
        found
    }
}

/// The password that the keyring has under a name, if any.
async fn run_keyring(service: &str, user: &str) -> Result<Option<String>, String> {
    if user.starts_with('-') {
        return Err("a user that begins with `-` would be an option".to_owned());
    }
    let mut child = tokio::process::Command::new("keyring")
        .args(["get", service, user])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot start `keyring`: {error}"))?;
    let stdout = child.stdout.take();
    let talk = async {
        let mut text = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(LONGEST).read_to_end(&mut text).await.map_err(|e| e.to_string())?;
        }
        let status = child.wait().await.map_err(|e| e.to_string())?;
        Ok((status, text))
    };
    let (status, text) = tokio::time::timeout(KEYRING_LIMIT, talk).await.unwrap_or_else(|_| {
        Err(format!("`keyring` gave no answer within {} s", KEYRING_LIMIT.as_secs()))
    })?;
    // Any other status says that it knows no such password.
    if !status.success() {
        return Ok(None);
    }
    let text = String::from_utf8(text).map_err(|_| "the password is not UTF-8".to_owned())?;
    let password = text.trim_end_matches(['\r', '\n']);
    Ok((!password.is_empty()).then(|| password.to_owned()))
}

fn read_netrc(path: &Path, warn: &dyn Fn(&str)) -> Option<Netrc> {
    let sane = std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() <= LARGEST_NETRC);
    let read = if sane { Netrc::from_file(path).ok() } else { None };
    if read.is_none() {
        // What the reader says may quote a password.
        warn(&format!("`{}` cannot be read as netrc and is left aside", path.display()));
    }
    read
}

/// Path of a URL up to its last `/`.
fn folder(url: &Url) -> String {
    let path = url.path();
    path[..=path.rfind('/').unwrap_or(0)].to_owned()
}

/// Undoes percent-encoding.
fn decoded(text: &str) -> String {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes.get(at + 1).zip(bytes.get(at + 2));
        let byte = pair
            .filter(|_| bytes[at] == b'%')
            .and_then(|(h, l)| Some(digit(*h)? << 4 | digit(*l)?));
        out.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_signs_are_undone() {
        for (given, meant) in
            [("a%40b", "a@b"), ("%C3%A9", "é"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("", "")]
        {
            assert_eq!(decoded(given), meant);
        }
    }

    #[test]
    fn credentials_of_a_page_serve_its_links() {
        let auth = Auth::new(Keyring::Off);
        // As if there were no netrc on this machine.
        auth.netrc.set(None).expect("not yet read");
        let asked = |text: &str, wrote: Wrote| {
            let url = Url::parse(text).expect("a URL");
            let run = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            run.block_on(auth.of(&url, wrote, &|_| ()))
                .map(|c| format!("{}:{}", c.user, c.password))
        };
        let user = |text: &str| asked(text, Wrote::User);
        assert_eq!(user("https://example.org/a/simple/x/"), None);
        // Links are nobody's word but their own.
        let link = asked("https://evil:twin@example.org/a/x.whl", Wrote::Server);
        assert_eq!(link.as_deref(), Some("evil:twin"));
        assert_eq!(user("https://example.org/a/simple/x/"), None);
        assert_eq!(user("https://u:p%40@example.org/a/simple/x/").as_deref(), Some("u:p@"));
        assert_eq!(user("https://example.org/files/x.whl").as_deref(), Some("u:p@"));
        assert_eq!(user("http://example.org/files/x.whl"), None);
        assert_eq!(user("https://example.test/files/x.whl"), None);
        assert_eq!(user("https://other:q@example.org/b/simple/x/").as_deref(), Some("other:q"));
        assert_eq!(user("https://example.org/b/simple/x/y").as_deref(), Some("other:q"));
        assert_eq!(user("https://example.org/a/simple/x/y").as_deref(), Some("u:p@"));
        // Two are known, and neither is nearer.
        assert_eq!(user("https://example.org/files/x.whl"), None);
        assert_eq!(user("https://other@example.org/files/x.whl").as_deref(), Some("other:q"));
        assert_eq!(user("https://token@example.test/").as_deref(), Some("token:"));
        assert_eq!(format!("{:?}", auth.known), format!("{:?}", auth.known).replace("p@", ""));
    }
}
