//! Why the network, an index or a file of it did not give what was asked.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::domain::Sha256;

/// What took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Name, connection and handshake.
    Connect,
    /// The next byte.
    Byte,
    /// The answer as a whole.
    Whole,
}

impl Phase {
    fn words(self) -> &'static str {
        match self {
            Self::Connect => "no connection",
            Self::Byte => "not a byte more",
            Self::Whole => "no whole answer",
        }
    }
}

/// Why the network, an index or a file of it did not give what was asked.
///
/// URLs stand here as they may be shown, see [`masked`](super::masked). All are "network or index" in
/// the table of exit codes (4) but a wrong digest, see [`Error::honest_no`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not in the cache, and nobody may be asked.
    #[error("`{url}` is not in the cache, and --offline asks nobody")]
    Offline {
        /// What was wanted.
        url: String,
    },
    /// There is no such page or file.
    #[error("`{url}` does not exist (HTTP {status})")]
    NotFound {
        /// What was asked.
        url: String,
        /// 404 or 410.
        status: u16,
    },
    /// The server wants to know who asks, or knows and refuses. Stores that may not be listed say 403
    /// for what is not there, the PyTorch wheel index among them.
    #[error("`{url}` may not be read (HTTP {status}){}", if *signed { ": the credentials were refused" } else { "" })]
    Denied {
        /// What was asked.
        url: String,
        /// 401 or 403.
        status: u16,
        /// Whether credentials were sent.
        signed: bool,
    },
    /// Any other status that is no answer.
    #[error("`{url}` answered HTTP {status}")]
    Status {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
        /// For how long the server wants to be left alone.
        wait: Option<Duration>,
    },
    /// No connection, none that can be trusted, or one with something that is no web server.
    #[error("no answer from `{url}`: {reason}")]
    Connect {
        /// What was asked.
        url: String,
        /// What the system said.
        reason: String,
        /// The certificate is the reason: trying again is no use.
        certificate: bool,
    },
    /// Too slow.
    #[error("`{url}`: {} within {}", phase.words(), seconds(*after))]
    Timeout {
        /// What was asked.
        url: String,
        /// What took too long.
        phase: Phase,
        /// The limit.
        after: Duration,
    },
    /// The answer ended early.
    #[error("`{url}` {}", cut(*promised, *sent))]
    Cut {
        /// What was asked.
        url: String,
        /// Bytes that the server announced.
        promised: Option<u64>,
        /// Bytes that came.
        sent: u64,
    },
    /// Larger than anything of its kind.
    #[error("`{url}` {} more than {limit} bytes", if claims.is_some() { "announces" } else { "has" })]
    TooBig {
        /// What was asked.
        url: String,
        /// The cap.
        limit: u64,
        /// What the server announced, when that alone is too much.
        claims: Option<u64>,
    },
    /// Not the size that the index gives.
    #[error("`{url}` has {}{found} bytes, and the index says {expected}", if *more { "more than " } else { "" })]
    Size {
        /// The file.
        url: String,
        /// What the index says.
        expected: u64,
        /// What came or was announced.
        found: u64,
        /// Reading stopped there.
        more: bool,
    },
    /// Not the digest that the index gives.
    #[error("`{url}` has {found}, and the index says {expected}")]
    Hash {
        /// The file.
        url: String,
        /// What the index says.
        expected: Sha256,
        /// What came.
        found: Sha256,
    },
    /// A part of a file that is not the part asked for.
    #[error("`{url}` was asked for {asked} and gave {given}")]
    Range {
        /// The file.
        url: String,
        /// The part that was asked for.
        asked: String,
        /// What came.
        given: String,
    },
    /// Two parts of a file belong to two files.
    #[error("`{url}` changed while it was read: first {before}, then {now}")]
    Changed {
        /// The file.
        url: String,
        /// Size and validator of the first part.
        before: String,
        /// Size and validator of this part.
        now: String,
    },
    /// A compression that was not asked for, or one that is broken.
    #[error("`{url}` cannot be decompressed: {reason}")]
    Encoding {
        /// What was asked.
        url: String,
        /// Which, or why.
        reason: String,
    },
    /// One redirect after the other.
    #[error("`{url}` redirects more than {limit} times")]
    Redirects {
        /// What was asked.
        url: String,
        /// The cap.
        limit: usize,
    },
    /// A redirect to nowhere.
    #[error("`{url}` redirects without saying where to")]
    Location {
        /// Who redirects.
        url: String,
    },
    /// A redirect that gives up encryption.
    #[error("`{from}` redirects to `{to}`, which is not encrypted")]
    Downgrade {
        /// Who redirects.
        from: String,
        /// Where to.
        to: String,
    },
    /// Past the mirrors.
    #[error("{} is not among the mirrors ({allowed})", fenced(from.as_deref(), to))]
    Fence {
        /// Who redirects; nobody when the request itself is outside.
        from: Option<String>,
        /// Origin outside.
        to: String,
        /// Origins inside.
        allowed: String,
    },
    /// No `http` or `https`.
    #[error("`{url}` is no address of a web server")]
    Scheme {
        /// What was given.
        url: String,
    },
    /// The server wants to be left alone for longer than anybody waits.
    #[error("`{url}` answered HTTP {status} and wants to be asked again in {}, longer than the {} that are waited", seconds(*wait), seconds(*limit))]
    Busy {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
        /// For how long.
        wait: Duration,
        /// The cap.
        limit: Duration,
    },
    /// The last of several errors.
    #[error("{last} (tried {tries} times)")]
    Repeated {
        /// How often it was tried.
        tries: u32,
        /// What came of it last.
        last: Box<Error>,
    },
    /// There is no way to connect safely from this machine.
    #[error("no connection can be made from here: {reason}")]
    Setup {
        /// What is missing.
        reason: String,
    },
    /// A file of this machine.
    #[error("cannot write `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// Nobody was to be asked, and the cache does not know.
    pub const fn is_offline(&self) -> bool {
        matches!(self, Self::Offline { .. })
    }

    /// The server spoke the truth, and it is a no (exit 1): the content is not what it has to be.
    pub fn honest_no(&self) -> bool {
        matches!(self.cause(), Self::Hash { .. })
    }

    /// The error itself, where it is the last of several.
    pub fn cause(&self) -> &Self {
        match self {
            Self::Repeated { last, .. } => last.cause(),
            other => other,
        }
    }

    /// Asking again may help.
    pub(super) fn passing(&self) -> bool {
        match self {
            Self::Connect { certificate, .. } => !certificate,
            Self::Timeout { .. } | Self::Cut { .. } => true,
            Self::Status { status, .. } => matches!(status, 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// What to do next, as one imperative sentence; silence beats a guess.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Repeated { last, .. } => return last.help(),
            Self::Offline { .. } => {
                "run the same command once without --offline: it fills the cache".into()
            }
            Self::NotFound { .. } => "check the name and the address of the index".into(),
            Self::Denied { signed: false, .. } => {
                "if the index wants credentials, put them into ~/.netrc, or the user into the URL \
                 (https://USER@host/) and the password into the keyring"
                    .into()
            }
            Self::Denied { signed: true, .. } => {
                "check the credentials in the URL, in ~/.netrc (or $NETRC) and in the keyring".into()
            }
            Self::Status { status: 407, .. } => {
                "put the proxy's credentials into HTTPS_PROXY (http://USER:PASSWORD@proxy:PORT)".into()
            }
            Self::Status { status: 429 | 500..=599, .. } | Self::Busy { .. } => {
                "try again later, or name a mirror".into()
            }
            Self::Connect { certificate: true, .. } => {
                "if a proxy or mirror has a certificate of its own, name its CA file in SSL_CERT_FILE".into()
            }
            Self::Connect { .. } | Self::Timeout { .. } => {
                "check the network; behind a proxy set HTTPS_PROXY and NO_PROXY, or name a mirror".into()
            }
            Self::Cut { .. } | Self::Changed { .. } => "try again; if it stays so, name another mirror".into(),
            Self::Hash { .. } | Self::Size { .. } => {
                "do not install it: ask who runs the index, or lock from another one".into()
            }
            Self::Fence { .. } => "let the mirror serve the file itself, or name that origin as a mirror too".into(),
            Self::Downgrade { .. } | Self::Redirects { .. } | Self::Location { .. } => {
                "name the address that the server redirects to in the end".into()
            }
            Self::Scheme { .. } => "write an address that begins with https://".into(),
            Self::Setup { .. } => {
                "install the CA certificates of the system (ca-certificates), or name a file of them in SSL_CERT_FILE".into()
            }
            Self::File { .. } => {
                "free some space, or name another folder in GPUSEAL_CACHE_DIR".into()
            }
            Self::TooBig { .. } | Self::Range { .. } | Self::Encoding { .. } | Self::Status { .. } => {
                return None;
            }
        })
    }
}

fn seconds(time: Duration) -> String {
    if time.subsec_millis() == 0 {
        format!("{} s", time.as_secs())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

fn cut(promised: Option<u64>, sent: u64) -> String {
    match promised {
        Some(promised) => format!("promised {promised} bytes and sent {sent}"),
        None => format!("broke off after {sent} bytes"),
    }
}

fn fenced(from: Option<&str>, to: &str) -> String {
    match from {
        Some(from) => format!("{from} redirects to {to}, which"),
        None => to.to_owned(),
    }
}
