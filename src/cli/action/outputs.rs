//! What the action hands on: read from the JSON report and the lock, written for the steps that follow.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::variable;
use crate::cli::args::Format;
use crate::cli::lock::own_lock_path;
use crate::cli::output::Output;
use crate::cli::reports::Reports;
use crate::domain::Sha256;
use crate::error::{Error, Exit};
use crate::lock::Lockfile;

/// Where the reports are.
pub struct Outputs {
    /// The JSON report.
    pub json: PathBuf,
    /// The SARIF file.
    pub sarif: PathBuf,
}

impl Outputs {
    /// Writes all outputs to the file that the runner names, or says them on the side.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, exit: Exit, project: Option<&Path>, output: &Output) -> Result<(), Error> {
        let list = self.list(exit, project, &output.reports);
        let Some(file) = variable("GITHUB_OUTPUT") else {
            for (name, value) in list {
                output.talk(format_args!("{name}={value}"));
            }
            return Ok(());
        };
        let mut text = String::new();
        for (name, value) in list {
            let end = delimiter(&value);
            let _ = writeln!(text, "{name}<<{end}\n{value}\n{end}");
        }
        let mut file =
            fs_err::OpenOptions::new().create(true).append(true).open(PathBuf::from(file))?;
        Ok(file.write_all(text.as_bytes())?)
    }

    fn list(
        &self,
        exit: Exit,
        project: Option<&Path>,
        reports: &Reports,
    ) -> Vec<(&'static str, String)> {
        // What this run has not written is the answer to another question.
        let report = if reports.wrote(Format::Json, &self.json) {
            fs_err::read(&self.json).unwrap_or_default()
        } else {
            Vec::new()
        };
        let report: Value = serde_json::from_slice(&report).unwrap_or_default();
        let path = project.and_then(|project| own_lock_path(project).ok());
        let bytes = path.as_ref().and_then(|path| fs_err::read(path).ok());
        let digest = bytes.map_or_else(String::new, |bytes| Sha256::of(&bytes).to_string());
        // What was resolved just now says more than what was locked once.
        let targets = match report["targets"].as_array() {
            Some(targets) => targets.iter().map(resolved).collect(),
            None => path
                .and_then(|path| Lockfile::read(&path).ok())
                .map_or_else(Vec::new, |l| locked(&l)),
        };
        let names: Vec<&Value> = targets.iter().map(|target| &target["target"]).collect();
        let verdict = report["verdict"].as_str().or(report["result"].as_str()).unwrap_or("error");
        let there = |format, file: &Path| {
            // Steps that follow may work in another folder.
            let whole = std::path::absolute(file).ok().filter(|_| reports.wrote(format, file));
            whole.map_or_else(String::new, |file| file.display().to_string())
        };
        vec![
            ("verdict", verdict.to_owned()),
            ("exit-code", (exit as u8).to_string()),
            ("changed", changed(&report).to_string()),
            ("lock-digest", digest),
            ("targets", json!(names).to_string()),
            ("matrix", json!({ "include": targets }).to_string()),
            ("report-path", there(Format::Json, &self.json)),
            ("sarif-path", there(Format::Sarif, &self.sarif)),
        ]
    }
}

/// Whether a file was written, or is not what it should be.
fn changed(report: &Value) -> bool {
    let lock = &report["lock"];
    let files =
        [&report["files"], &lock["files"]].into_iter().filter_map(Value::as_array).flatten();
    let corrected = lock["corrected"].as_array().is_some_and(|list| !list.is_empty());
    let mut states = files.chain([lock]).filter_map(|file| file["state"].as_str());
    corrected || states.any(|state| state != "unchanged")
}

/// A job of a fan-out, from the answer of `resolve`. Everything is text: `gpus` goes back into the input
/// `gpu` as it is, `torch` into `torch`.
fn resolved(target: &Value) -> Value {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let torch = &target["torch"];
    let local = torch["local"].as_str().map_or_else(String::new, |local| format!("+{local}"));
    let gpus = target["gpus"].as_array().into_iter().flatten();
    json!({
        "target": target["name"],
        "platform": target["platform"],
        "python": target["python"],
        "torch": text(&torch["version"]) + &local,
        "cuda": target["cuda"],
        "gpus": gpus.map(|gpu| text(&gpu["given"])).collect::<Vec<_>>().join(","),
        "driver": text(&target["driver"]["min"]),
    })
}

/// The same from a lock.
fn locked(lock: &Lockfile) -> Vec<Value> {
    let row = |target: &crate::lock::Target| {
        let torch = target.packages.iter().find(|package| package.name.as_str() == "torch");
        let local = torch.and_then(|package| package.local.as_ref());
        let local = local.map_or_else(String::new, |local| format!("+{local}"));
        let gpus: Vec<_> = target.gpus.iter().map(|gpu| gpu.given.to_string()).collect();
        json!({
            "target": target.name.as_str(),
            "platform": target.platform.to_string(),
            "python": target.python.to_string(),
            "torch": format!("{}{local}", target.torch),
            "cuda": target.cuda.to_string(),
            "gpus": gpus.join(","),
            "driver": target.driver.min.map_or_else(String::new, |driver| driver.to_string()),
        })
    };
    lock.targets.iter().map(row).collect()
}

/// A line that ends a value, which nobody can have written into it.
fn delimiter(value: &str) -> String {
    loop {
        // Seeded by the system, anew for each.
        let random = || RandomState::new().build_hasher().finish();
        let end = format!("gpuseal_{:016x}{:016x}", random(), random());
        if !value.contains(&end) {
            return end;
        }
    }
}
