//! Why a tag has no digest for us.

use std::time::Duration;

use super::name::canonical;

/// What a registry did not answer, or answered otherwise than its protocol says.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The text is no repository and tag.
    #[error("`{given}` is not the name of an image")]
    Name {
        /// As given.
        given: String,
    },
    /// The mirror, or the registry itself, is no place to ask.
    #[error("`{given}`, where {registry} is to be asked, cannot be used: {reason}")]
    Place {
        /// Whose place it is.
        registry: String,
        /// As given.
        given: String,
        /// In a few words.
        reason: &'static str,
    },
    /// The registry knows the repository, and not the tag.
    #[error("{host} has no tag `{tag}` of {repository}{}", listed(near, "the nearest are"))]
    NoTag {
        /// The host that was asked.
        host: String,
        /// As it is called there.
        repository: String,
        /// As asked for.
        tag: String,
        /// Tags that exist and look alike, nearest first.
        near: Vec<String>,
    },
    /// The registry does not know the repository.
    #[error("{host} has no repository {repository}")]
    NoRepository {
        /// The host that was asked.
        host: String,
        /// As it is called there.
        repository: String,
    },
    /// The tag stands for images of other machines.
    #[error("{image} is not built for {platform}{}", listed(found, "it is built for"))]
    NoPlatform {
        /// The reference.
        image: String,
        /// The platform asked for.
        platform: String,
        /// The platforms there are.
        found: Vec<String>,
    },
    /// Authentication, or a repository that the registry does not admit to have.
    #[error("{host} refuses to show {repository}{}", said(text))]
    Denied {
        /// The host that was asked.
        host: String,
        /// As it is called there.
        repository: String,
        /// What it said.
        text: String,
        /// Whether credentials were sent.
        with_credentials: bool,
    },
    /// Too many questions.
    #[error("{host} allows no more requests for now{}", after.map_or(String::new(), |wait| format!(", try again in {} s", wait.as_secs())))]
    RateLimited {
        /// The host that was asked.
        host: String,
        /// The registry in names.
        registry: String,
        /// How long it asks to wait.
        after: Option<Duration>,
    },
    /// No answer came.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// The host that was asked.
        host: String,
        /// The innermost cause.
        reason: String,
    },
    /// An answer that is neither the image nor a no.
    #[error("{url} answers with status {status}{}", said(text))]
    Status {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
        /// What it said.
        text: String,
    },
    /// All of it took too long.
    #[error("the digest of {image} was not known after {} s", limit.as_secs())]
    TimedOut {
        /// The reference.
        image: String,
        /// The time there was.
        limit: Duration,
    },
    /// Bytes that are not those that were promised.
    #[error("{url} is {actual}, and {by} says {promised}")]
    Digest {
        /// What was asked.
        url: String,
        /// Digest or size of what came.
        actual: String,
        /// Who promised: the registry's header, the index.
        by: &'static str,
        /// What was promised.
        promised: String,
    },
    /// An answer that cannot be read.
    #[error("{url} is no image that can be read: {reason}")]
    Shape {
        /// What was asked.
        url: String,
        /// In a few words.
        reason: String,
    },
    /// An answer larger than any of its kind.
    #[error("{url} is larger than {limit} bytes")]
    TooBig {
        /// What was asked.
        url: String,
        /// The cap.
        limit: usize,
    },
    /// The registry sends us somewhere we do not go.
    #[error("{from} sends to {to}: {reason}")]
    Elsewhere {
        /// The host that was asked.
        from: String,
        /// The host it named.
        to: String,
        /// Why not.
        reason: &'static str,
    },
    /// The index names an image that the registry does not have.
    #[error("{host} lists {digest} under {image}, and does not have it")]
    Incomplete {
        /// The host that was asked.
        host: String,
        /// The reference.
        image: String,
        /// The manifest that is missing.
        digest: String,
    },
}

impl RegistryError {
    /// Whether the registry answered, and the answer is no.
    pub const fn honest_no(&self) -> bool {
        matches!(self, Self::NoTag { .. } | Self::NoRepository { .. } | Self::NoPlatform { .. })
    }

    /// Whether what was asked for could never be asked: bad input.
    pub const fn bad_input(&self) -> bool {
        matches!(self, Self::Name { .. } | Self::Place { .. })
    }

    /// What to do next, as one imperative sentence; silence beats a guess.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Name { .. } => {
                "write the repository as `python`, `nvidia/cuda` or `ghcr.io/astral-sh/uv`, and the tag apart from it".into()
            }
            Self::Place { .. } => {
                "write a mirror as `registry.example.org:5000/path`, with `http://` before it only where there is no TLS".into()
            }
            Self::NoTag { near, .. } if near.is_empty() => "look for the tag at the registry".into(),
            Self::NoTag { .. } => "take one of the tags that exist".into(),
            Self::NoRepository { host, .. } => {
                format!("check the name; a mirror has to hold the repository, and {host} does not")
            }
            Self::NoPlatform { .. } => "take another image, or another platform for the target".into(),
            Self::Denied { host, with_credentials: true, .. } => {
                let host = canonical(host);
                format!("check the name, and whether the account you logged in with may read it: `docker login {host}`")
            }
            Self::Denied { host, .. } => {
                let host = canonical(host);
                format!("check the name; a private repository needs `docker login {host}` or `podman login {host}`")
            }
            Self::RateLimited { registry, .. } => format!(
                "log in with `docker login {registry}`, or set a mirror for `{registry}` in `mirrors`"
            ),
            Self::Unreachable { reason, .. } if reason.contains("certificate") => {
                "set SSL_CERT_FILE to a file with the certificate authorities of your network".into()
            }
            Self::Unreachable { .. } => {
                "check the network and its proxy, set a mirror, or lock without digests: `--no-images`".into()
            }
            Self::Status { .. } | Self::TimedOut { .. } => {
                "try again later, set a mirror, or lock without digests: `--no-images`".into()
            }
            Self::Elsewhere { .. } => "ask whoever runs the registry, or set another mirror".into(),
            Self::Incomplete { .. } => "ask whoever runs the registry to copy all platforms of the image".into(),
            Self::Digest { .. } | Self::Shape { .. } | Self::TooBig { .. } => {
                "something between here and the registry answers in its place: check the proxy and the mirror".into()
            }
        })
    }
}

/// `: what it said`, where it said something.
fn said(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// `; the nearest are a, b`, where there are some.
fn listed(words: &[String], before: &str) -> String {
    if words.is_empty() { String::new() } else { format!("; {before} {}", words.join(", ")) }
}
