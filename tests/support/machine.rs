//! A machine with a driver, and an environment with torch and its libraries, all of which compute on the CPU.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::wheelhouse::{Environment, environment};
use super::{fakes, root};

/// A machine with a driver, and an environment with torch and its libraries.
pub(crate) struct Machine {
    folder: tempfile::TempDir,
    /// The environment.
    pub(crate) env: Environment,
}

/// A new one, in which nothing is wrong.
pub(crate) fn machine() -> Machine {
    let folder = super::folder(&[]);
    let env = environment(folder.path());
    env.fakes();
    copy(&root().join("tests/fakes/torch/torch"), &env.site.join("torch"));
    let machine = Machine { folder, env };
    fakes::place(&machine.driver(), &["libcuda.so.1", "libnvidia-ml.so.1"]);
    machine
}

fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).expect("a folder");
    for entry in fs_err::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs_err::copy(&path, to).expect("a copy");
        }
    }
}

impl Machine {
    /// Where all of it lies.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the driver's libraries lie.
    pub(crate) fn driver(&self) -> PathBuf {
        self.folder().join("driver")
    }

    /// `gpuseal verify --here` on it, quickly; what goes wrong is `FAKE_DRIVER`'s.
    pub(crate) fn verify(&self, faults: &str) -> Command {
        let mut command = super::gpuseal(self.folder());
        command.args(["verify", "--here", "--quick", "--no-speed", "--format", "json"]);
        command.arg("--env").arg(&self.env.root);
        command.env("LD_LIBRARY_PATH", self.driver()).env("FAKE_DRIVER", faults);
        command
    }
}
