//! Everything that can go wrong, gathered; and the exit codes, which are a promise.

use crate::matrix::Fault;
use crate::requirements::Bad;

/// How the program ends. Listed in the README; a test compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exit {
    /// Done, fresh, proven.
    Done = 0,
    /// An honest no: unsatisfiable, incompatible, stale, drift, failed.
    No = 1,
    /// Bad usage, or input that is unreadable or invalid.
    Usage = 2,
    /// It cannot be judged here: no GPU, driver or container engine.
    CannotJudge = 3,
    /// Network or index.
    Network = 4,
    /// Unknown to the matrix.
    Unknown = 5,
    /// A bug of ours.
    Bug = 70,
    /// Interrupted.
    Interrupted = 130,
}

impl Exit {
    /// Every exit, with what it means.
    pub const ALL: &[(Self, &str)] = &[
        (Self::Done, "done, fresh, proven"),
        (
            Self::No,
            "an honest no: unsatisfiable, incompatible, stale, drift, failed, or a hook wrote a file",
        ),
        (Self::Usage, "bad usage, or unreadable or invalid input"),
        (Self::CannotJudge, "cannot judge here: no GPU, driver or container engine"),
        (Self::Network, "network or index"),
        (Self::Unknown, "unknown to the matrix"),
        (Self::Bug, "a bug of gpuseal"),
        (Self::Interrupted, "interrupted"),
    ];
}

/// What a command ends with when it does not come to its result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Requirements.
    #[error(transparent)]
    Requirements(#[from] crate::requirements::Error),
    /// Matrix.
    #[error(transparent)]
    Matrix(#[from] crate::matrix::Error),
    /// Lock.
    #[error(transparent)]
    Lock(#[from] crate::lock::Error),
    /// Rendering.
    #[error(transparent)]
    Render(#[from] crate::render::Error),
    /// A file.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// This machine cannot be asked.
    #[error("--gpu host: {0}")]
    Host(#[from] crate::host::Error),
    /// Lines of the project that cannot all hold.
    #[error("the project's files contradict each other: {}", first(.0))]
    Contradiction(Vec<crate::domain::Finding>),
    /// The network or an index.
    #[error(transparent)]
    Net(Box<crate::net::Error>),
    /// A file of an index.
    #[error(transparent)]
    Wheel(Box<crate::net::wheel::WheelError>),
    /// A page of an index that is none.
    #[error("`{url}` is no page of an index: {why}")]
    Page {
        /// The page.
        url: String,
        /// What is wrong with it.
        why: Box<crate::index::page::PageError>,
    },
    /// A registry.
    #[error(transparent)]
    Registry(Box<crate::net::registry::RegistryError>),
    /// Nobody knows where PyPI is.
    #[error(transparent)]
    Settings(Box<crate::net::settings::SettingsError>),
    /// Packages of which no file fits, or that exclude each other.
    #[error(transparent)]
    Closure(Box<crate::closure::Error>),
    /// The same file with two digests.
    #[error("`{}` has two digests: {} in the lock, {} from the index; nothing was written", .0.file, .0.old, .0.new)]
    TwoDigests(Box<crate::closure::TwoDigests>),
    /// A file says that a target cannot run.
    #[error("target `{target}`: {}: the matrix says {}, and `{}` says {}; nothing was written", .disagreement.what, .disagreement.matrix, .disagreement.source, .disagreement.file)]
    Disagrees {
        /// The target.
        target: String,
        /// Both sides.
        disagreement: Box<crate::closure::Disagreement>,
    },
    /// uv, which solves a project's other packages.
    #[error("{message}")]
    Uv {
        /// What is wrong.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// There is no lock to compare with.
    #[error("{}", first(.0))]
    NoLock(Vec<crate::domain::Finding>),
    /// What a commit waits for.
    #[error("{message}")]
    Hook {
        /// What is missing or was wrong.
        message: String,
        /// What to do.
        help: String,
    },
    /// Control-C.
    #[error("interrupted; nothing was written")]
    Interrupted,
    /// A flag or argument.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// Names that the matrix does not know.
    #[error("{message}")]
    Unplaced {
        /// What is wrong.
        message: String,
        /// What to do.
        help: Option<String>,
        /// A card: the matrix lacks a row, which is no fault of the input.
        unknown: bool,
        /// Where it stands.
        place: Option<Box<Bad>>,
    },
}

macro_rules! boxed {
    ($($variant:ident($error:ty)),+ $(,)?) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::$variant(Box::new(error))
            }
        }
    )+};
}

boxed! {
    Net(crate::net::Error),
    Wheel(crate::net::wheel::WheelError),
    Registry(crate::net::registry::RegistryError),
    Settings(crate::net::settings::SettingsError),
    Closure(crate::closure::Error),
}

fn first(findings: &[crate::domain::Finding]) -> &str {
    findings.first().map_or("", |finding| &finding.message)
}

impl Error {
    /// A usage error without further help.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), help: None }
    }

    /// What to do next.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Requirements(err) => err.help(),
            Self::Lock(err) => err.help(),
            Self::Render(err) => err.help(),
            Self::Usage { help, .. } | Self::Unplaced { help, .. } | Self::Uv { help, .. } => {
                help.clone()
            }
            Self::Hook { help, .. } => Some(help.clone()),
            Self::NoLock(findings) => findings.first()?.help.first().cloned(),
            Self::Host(_) => {
                Some("name the card with --gpu, as nvidia-smi prints it, and the --driver".into())
            }
            Self::Contradiction(_) => Some("`gpuseal inputs` shows every line".into()),
            Self::Net(err) => err.help(),
            Self::Wheel(err) => err.help(),
            Self::Registry(err) => err.help(),
            Self::Settings(err) => err.help(),
            Self::Closure(err) => err.help(),
            Self::Page { why, .. } => Some(why.help()),
            Self::TwoDigests(clash) => Some(format!(
                "the same name never stands for other bytes: look at what the index says about it, then run `gpuseal lock --accept-hash {}`",
                clash.package
            )),
            Self::Disagrees { .. } => Some(
                "the file wins: take another build with --cuda or --torch, and report the row of the matrix".into(),
            ),
            Self::Matrix(_) | Self::Io(_) | Self::Interrupted => None,
        }
    }

    /// The network was not to be asked, and the cache does not know.
    pub fn is_offline(&self) -> bool {
        match self {
            Self::Net(err) => err.is_offline(),
            Self::Wheel(err) => err.is_offline(),
            Self::Settings(_) => true,
            _ => false,
        }
    }

    /// The place in a file, when there is one.
    pub fn place(&self) -> Option<&Bad> {
        match self {
            Self::Requirements(crate::requirements::Error::Bad(bad)) => Some(bad),
            Self::Unplaced { place, .. } => place.as_deref(),
            _ => None,
        }
    }

    /// Bad rows of a matrix.
    pub fn faults(&self) -> &[Fault] {
        match self {
            Self::Matrix(crate::matrix::Error::Faults(faults)) => faults,
            _ => &[],
        }
    }

    /// Lines of the project that contradict each other.
    pub fn findings(&self) -> &[crate::domain::Finding] {
        match self {
            Self::Contradiction(findings) | Self::NoLock(findings) => findings,
            _ => &[],
        }
    }

    /// How the program ends with it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unplaced { unknown: true, .. } => Exit::Unknown,
            Self::Host(_) => Exit::CannotJudge,
            Self::Contradiction(_)
            | Self::Closure(_)
            | Self::TwoDigests(_)
            | Self::Disagrees { .. }
            | Self::Uv { .. }
            | Self::NoLock(_)
            | Self::Hook { .. } => Exit::No,
            Self::Net(err) if err.honest_no() => Exit::No,
            Self::Wheel(err) if err.honest_no() => Exit::No,
            Self::Registry(err) if err.honest_no() => Exit::No,
            Self::Registry(err) if err.bad_input() => Exit::Usage,
            Self::Net(_) | Self::Wheel(_) | Self::Registry(_) | Self::Page { .. } => Exit::Network,
            Self::Interrupted => Exit::Interrupted,
            _ => Exit::Usage,
        }
    }
}
