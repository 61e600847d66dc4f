//! What the readers of all formats share: the files, what was found so far, and the words for it.

use super::demand::{Choice, FileRead, Project};
use super::source::{Files, Text};
use crate::domain::{Code, Finding, Place, Severity};
use crate::requirements::Error;

/// Reads a project, file by file.
#[derive(Debug)]
pub struct Reader {
    /// The files.
    pub files: Files,
    /// What they say.
    pub project: Project,
}

impl Reader {
    /// For the files of a project.
    pub fn new(files: Files) -> Self {
        Self { files, project: Project::default() }
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
        self.project.demands.push(demand);
        Ok(())
    }

    /// Something that only running it, or the network, could tell.
    pub fn unread(&mut self, place: &Place, message: impl Into<String>) {
        self.project
            .findings
            .push(Finding::new(Code::InputUnread, Severity::Note, message).at(place));
    }
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
