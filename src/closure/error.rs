//! Why a closure could not be found. All of it is an honest no (exit code 1).

/// No file of a package fits a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("target `{target}`: {index} has no file of {package} for {machine}: {why}")]
pub struct NoFile {
    /// The target.
    pub target: String,
    /// What is asked for, with who asks: `filelock >=3 (torch)`.
    pub package: String,
    /// The index.
    pub index: String,
    /// `Python 3.12, linux/amd64, glibc 2.36`.
    pub machine: String,
    /// What there is instead.
    pub why: String,
    /// GPU packages are ours to choose; the rest may be left to uv.
    pub ours: bool,
}

/// Why a closure could not be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No file of a package fits.
    #[error(transparent)]
    NoFile(Box<NoFile>),
    /// The closure goes in circles.
    #[error("target `{target}`: the newest releases keep excluding each other")]
    Unsettled {
        /// The target.
        target: String,
    },
    /// More packages than an installation has.
    #[error("target `{target}` needs more than {most} packages")]
    TooMany {
        /// The target.
        target: String,
        /// The cap.
        most: usize,
    },
    /// A name or address from the index that a lock cannot hold.
    #[error("target `{target}`: the index says of {package} what no lock can hold: {why}")]
    Unholdable {
        /// The target.
        target: String,
        /// The package.
        package: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    /// Whether uv may find a way where there is none here.
    pub fn is_for_uv(&self) -> bool {
        match self {
            Self::NoFile(none) => !none.ours,
            Self::Unsettled { .. } => true,
            Self::TooMany { .. } | Self::Unholdable { .. } => false,
        }
    }

    /// What to do next.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NoFile(none) if none.ours => Some(
                "take another version or Python, or let `gpuseal resolve` choose: the index may lag behind the matrix".into(),
            ),
            Self::NoFile(_) | Self::Unsettled { .. } => {
                Some("let uv solve the packages that are not ours: `gpuseal lock --with-deps`".into())
            }
            Self::Unholdable { .. } => {
                Some("lock from an index or a mirror whose files have plain names and addresses".into())
            }
            Self::TooMany { .. } => None,
        }
    }
}
