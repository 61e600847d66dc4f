//! What the readers of all formats share: the files, what was found so far, and the words for it.

use super::demand::{Choice, Demand, FileRead, Index, Project};
use super::source::{Files, Text, clipped};
use crate::domain::{Code, Finding, Place, Severity};
use crate::requirements::{Bad, Error};

/// Requirements of one project that are read: the largest workspaces have some thousand.
pub const MAX_DEMANDS: usize = 20_000;
/// Indexes of one project that are read.
const MAX_INDEXES: usize = 1000;
/// Bytes that requirements may repeat: names of files and options, addresses, markers.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// Parts that could not be read and are named; the first ones are enough to begin with.
const MAX_UNREAD: usize = 500;

/// Reads a project, file by file.
#[derive(Debug)]
pub struct Reader {
    /// The files.
    pub files: Files,
    /// What they say.
    pub project: Project,
    demands: usize,
    bytes: usize,
    unread: usize,
    /// The first line that was too much, and why.
    beyond: Option<(Place, String)>,
}

impl Reader {
    /// For the files of a project.
    pub fn new(files: Files) -> Self {
        Self { files, project: Project::default(), demands: 0, bytes: 0, unread: 0, beyond: None }
    }

    /// Remembers that a file was read.
    pub fn began(&mut self, text: &Text, what: &'static str) {
        self.project.files.push(FileRead { name: text.name.clone(), what });
    }

    /// Reads a requirement of an option of the project, and keeps it.
    ///
    /// # Errors
    /// What is wrong with it, on that line.
    pub fn keep(
        &mut self,
        text: &Text,
        line: usize,
        given: &str,
        choice: Option<&Choice>,
    ) -> Result<(), Error> {
        let mut demand = text.demand(line, given)?;
        demand.choice = choice.cloned();
        self.push(demand);
        self.enough()
    }

    /// Keeps a demand, if there is room left for it.
    pub fn push(&mut self, demand: Demand) {
        if self.room(&demand) {
            self.project.demands.push(demand);
        }
    }

    /// Counts a demand that is to be kept. `false`: it is one too many, which [`Reader::done`] tells.
    pub fn room(&mut self, demand: &Demand) -> bool {
        self.demands += 1;
        self.bytes += weight(demand);
        let most = if self.demands > MAX_DEMANDS {
            format!("{MAX_DEMANDS} requirements")
        } else if self.bytes > MAX_BYTES {
            format!("{} MB of requirements", MAX_BYTES / 1024 / 1024)
        } else {
            return true;
        };
        self.refuse(&demand.place, &most);
        false
    }

    /// Keeps an index.
    pub fn index(&mut self, index: Index) {
        if self.project.indexes.len() < MAX_INDEXES {
            self.project.indexes.push(index);
        } else {
            self.refuse(&index.place, &format!("{MAX_INDEXES} indexes"));
        }
    }

    fn refuse(&mut self, place: &Place, most: &str) {
        self.beyond.get_or_insert_with(|| {
            (place.clone(), format!("the project names more than the {most} that are read"))
        });
    }

    /// Everything that was read.
    ///
    /// # Errors
    /// It was more than is kept, and where that began.
    pub fn done(self) -> Result<Project, Error> {
        self.enough()?;
        Ok(self.project)
    }

    /// Ends a reader that has long passed what is kept.
    ///
    /// # Errors
    /// As [`Reader::done`].
    pub fn enough(&self) -> Result<(), Error> {
        let Some((place, message)) = &self.beyond else { return Ok(()) };
        Err(Error::Bad(Box::new(Bad {
            file: place.file.clone().into(),
            place: Some((place.line, 0..1)),
            excerpt: None,
            message: message.clone(),
            help: Some("give the files that matter with -r".into()),
        })))
    }

    /// Something that only running it, or the network, could tell.
    pub fn unread(&mut self, place: &Place, message: impl Into<String>) {
        self.unread += 1;
        let message = match self.unread {
            0..=MAX_UNREAD => clipped(message.into()),
            n if n == MAX_UNREAD + 1 => "this part and others after it are not read".into(),
            _ => return,
        };
        self.project
            .findings
            .push(Finding::new(Code::InputUnread, Severity::Note, message).at(place));
    }
}

/// Bytes of a demand that others may repeat.
fn weight(demand: &Demand) -> usize {
    let index = demand.index.as_ref();
    let index = index.map_or(0, |i| i.url.len() + i.name.as_ref().map_or(0, String::len));
    let link = demand.link.as_ref().map_or(0, |link| link.address.len());
    let marker = demand.marker.text().map_or(0, str::len);
    let choice = demand.choice.as_ref().map_or(0, |choice| choice.name().len());
    demand.given.len() + demand.place.file.len() + index + link + marker + choice
}

/// Packages that the PyTorch wheel index serves builds of: an index line that names that index is
/// meant for these. Read from the index's own list of packages.
pub fn of_pytorch(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "fbgemm-gpu",
        "fbgemm-gpu-genai",
        "flashinfer-python",
        "pytorch-triton",
        "pytorch-triton-rocm",
        "pytorch-triton-xpu",
        "torch",
        "torch-tensorrt",
        "torchao",
        "torchaudio",
        "torchcodec",
        "torchcsprng",
        "torchdata",
        "torchdistx",
        "torchrec",
        "torchserve",
        "torchtext",
        "torchvision",
        "triton",
        "vllm",
        "xformers",
    ];
    NAMES.contains(&name)
}
