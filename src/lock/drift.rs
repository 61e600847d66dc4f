//! What changed from one lock to another, field by field.

use crate::domain::Gather as _;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Lockfile, check};

/// One difference between two locks.
///
/// Shown as `~ target train: torch "2.8.0" -> "2.9.1"`, `+ target arm` or `- target old`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The target it is about; `None`: the lock as a whole.
    pub target: Option<String>,
    /// What changed, `driver min` or `package xformers version`; empty: the target itself.
    pub field: String,
    /// Before; `None`: it was not there.
    pub old: Option<String>,
    /// After; `None`: it is gone.
    pub new: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match (&self.old, &self.new) {
            (None, _) => '+',
            (Some(_), None) => '-',
            (Some(_), Some(_)) => '~',
        };
        write!(f, "{sign}")?;
        if let Some(target) = &self.target {
            write!(f, " target {target}")?;
            if self.field.is_empty() {
                return Ok(());
            }
            f.write_str(":")?;
        }
        write!(f, " {}", self.field)?;
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, " \"{old}\" -> \"{new}\""),
            (Some(only), None) | (None, Some(only)) if !only.is_empty() => write!(f, " \"{only}\""),
            _ => Ok(()),
        }
    }
}

/// What a check tells of a lock: the choices that no longer hold, and the facts that the matrix has
/// corrected since.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drift {
    /// The lock is not what would be decided today: it is stale.
    pub stale: Vec<Change>,
    /// The choices hold; a row of the matrix that they rest on says something else now.
    pub corrected: Vec<Change>,
}

/// Holds a lock against what is decided today, `fresh`, of which no file is known.
///
/// A newer release alone never makes a lock stale: `fresh` has been decided keeping its choices.
pub fn check(old: &Lockfile, fresh: &Lockfile) -> Drift {
    let mut drift = Drift::default();
    for change in diff(&old.decided(), &fresh.decided()) {
        let field = change.field.as_str();
        let of_gpu = field.starts_with("gpu ")
            && ["name", "capability", "served_by", "code"]
                .iter()
                .any(|detail| field.ends_with(&format!(" {detail}")));
        if field.starts_with("matrix ") || FROM_FILES.contains(&field) {
            // Which matrix it was is no choice; what a file says wins over the matrix.
        } else if FACTS.contains(&field) || of_gpu {
            drift.corrected.push(change);
        } else {
            drift.stale.push(change);
        }
    }
    // Fewer or more cards change the floor: then that is no correction.
    if old.inputs != fresh.inputs {
        drift.stale.append(&mut drift.corrected);
    }
    drift
}

/// Fields of a target that follow from its choices and the matrix.
const FACTS: &[&str] = &[
    "cuda",
    "glibc",
    "pins_unknown",
    "driver min",
    "driver native",
    "driver max_branch",
    "driver mode",
    "base uv",
    "base uv_tag",
];

/// Fields that are taken from the files once they are known.
const FROM_FILES: &[&str] =
    &["toolkit", "cudnn", "nccl", "triton", "glibc_min", "base uv_digest", "base builder_digest"];

/// Facts about the lock as a whole. `lines`: tell the requirements line by line, not by their digest.
fn whole(file: &super::v1::File, lines: bool) -> Facts {
    let mut facts = Facts::default();
    facts.add("matrix id", &file.matrix.id);
    facts.add("matrix digest", &file.matrix.digest);
    facts.add("matrix overlays", file.matrix.overlays.join(", "));
    if lines {
        asked(&file.inputs.asked, &mut facts);
    } else {
        facts.add("inputs digest", &file.inputs.digest);
    }
    for row in &file.mirror {
        facts.add(&format!("mirror of {}", row.of), &row.at);
    }
    facts
}

/// `torch: >=2.8` below `options: cu128`, `  driver: 535` below `target: train`, `other packages: ...`
/// below all of them: what is asked, and for whom.
fn asked(lines: &[String], facts: &mut Facts) {
    let mut whose = String::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for line in lines {
        let (key, value) = line.split_once(": ").unwrap_or((line, ""));
        if matches!(key, "options" | "target") {
            whose = format!("{key} {value}: ");
            facts.add(&format!("asked {key} {value}"), "yes");
            continue;
        }
        // Lines of a target are indented; what follows them is asked for everywhere.
        if whose.starts_with("target ") && !line.starts_with(' ') {
            whose.clear();
        }
        let field = format!("asked {whose}{}", key.trim_start());
        // Where a marker tells Pythons apart, the same is asked once for each.
        let count = seen.entry(field.clone()).or_default();
        *count += 1;
        let field = if *count > 1 { format!("{field} ({count})") } else { field };
        facts.add(&field, value);
    }
}

/// The differences, in the order of the new lock; what is gone comes last. Empty when both say the
/// same.
pub fn diff(old: &Lockfile, new: &Lockfile) -> Vec<Change> {
    let mut changes = Vec::new();
    let (old_file, new_file) = (check::file(old), check::file(new));
    // Where lines are missing, or do not show what has changed, the digest does.
    let (asked, ask) = (&old_file.inputs.asked, &new_file.inputs.asked);
    let lines = !asked.is_empty()
        && !ask.is_empty()
        && (asked != ask || old_file.inputs.digest == new_file.inputs.digest);
    compare(None, &whole(&old_file, lines), &whole(&new_file, lines), &mut changes);
    for target in &new_file.target {
        match old_file.target.iter().find(|t| t.name == target.name) {
            Some(before) => {
                compare(Some(&target.name), &facts(before), &facts(target), &mut changes);
            }
            None => changes.push(whole_target(&target.name, false)),
        }
    }
    for target in &old_file.target {
        if new.target(&target.name).is_none() {
            changes.push(whole_target(&target.name, true));
        }
    }
    // The first target is the one that a plain `docker build .` takes.
    let order = |file: &super::v1::File, other: &Lockfile| {
        let shared: Vec<_> = file
            .target
            .iter()
            .map(|t| t.name.as_str())
            .filter(|n| other.target(n).is_some())
            .collect();
        shared.join(", ")
    };
    let (before, after) = (order(&old_file, new), order(&new_file, old));
    if before != after {
        changes.push(Change {
            target: None,
            field: "order of targets".into(),
            old: Some(before),
            new: Some(after),
        });
    }
    changes
}

fn whole_target(name: &str, gone: bool) -> Change {
    let side = |there: bool| there.then(String::new);
    Change { target: Some(name.into()), field: String::new(), old: side(gone), new: side(!gone) }
}

/// The facts of a table in the order of the file. A row of a list is a fact of its own, which its
/// details follow, so that a new package is one line and not nine.
#[derive(Default)]
struct Facts {
    plain: Vec<(String, String)>,
    rows: BTreeMap<(&'static str, String), Vec<(&'static str, String)>>,
}

impl Facts {
    fn add(&mut self, field: &str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.plain.push((field.into(), value));
        }
    }

    fn add_opt(&mut self, field: &str, value: Option<&String>) {
        if let Some(value) = value {
            self.add(field, value);
        }
    }
}

fn facts(target: &super::v1::Target) -> Facts {
    let mut facts = Facts::default();
    facts.add("platform", &target.platform);
    facts.add("python", &target.python);
    facts.add("torch", &target.torch);
    facts.add("variant", &target.variant);
    facts.add("index", &target.index);
    facts.add("cuda", &target.cuda);
    facts.add_opt("toolkit", target.toolkit.as_ref());
    facts.add_opt("cudnn", target.cudnn.as_ref());
    facts.add_opt("nccl", target.nccl.as_ref());
    facts.add_opt("triton", target.triton.as_ref());
    facts.add_opt("glibc_min", target.glibc_min.as_ref());
    facts.add_opt("glibc", target.glibc.as_ref());
    facts.add("pins_unknown", target.pins_unknown.to_string());
    facts.add("with_deps", target.with_deps.to_string());
    facts.add_opt("driver given", target.driver.given.as_ref());
    facts.add_opt("driver min", target.driver.min.as_ref());
    facts.add_opt("driver native", target.driver.native.as_ref());
    facts.add_opt("driver max_branch", target.driver.max_branch.map(|b| b.to_string()).as_ref());
    facts.add_opt("driver mode", target.driver.mode.as_ref());
    facts.add("base repository", &target.base.repository);
    facts.add("base tag", &target.base.tag);
    facts.add("base flavour", &target.base.flavour);
    facts.add("base digest", &target.base.digest);
    facts.add_opt("base size", target.base.size.map(|size| size.to_string()).as_ref());
    facts.add_opt("base builder", target.base.builder.as_ref());
    facts.add_opt("base builder_tag", target.base.builder_tag.as_ref());
    facts.add_opt("base builder_digest", target.base.builder_digest.as_ref());
    facts.add_opt("base uv", target.base.uv.as_ref());
    facts.add_opt("base uv_tag", target.base.uv_tag.as_ref());
    facts.add_opt("base uv_digest", target.base.uv_digest.as_ref());
    facts.add("base apt", target.base.apt.join(", "));
    for gpu in &target.gpu {
        let details = vec![
            ("name", gpu.name.clone()),
            ("capability", gpu.capability.clone()),
            ("served_by", gpu.served_by.clone().unwrap_or_default()),
            ("code", gpu.code.clone().unwrap_or_default()),
        ];
        facts.rows.insert(("gpu", gpu.given.clone()), details);
    }
    for package in &target.package {
        let details = vec![
            ("version", package.version.clone().unwrap_or_default()),
            ("specifier", package.specifier.clone().unwrap_or_default()),
            ("local", package.local.clone().unwrap_or_default()),
            ("index", package.index.clone()),
            ("extras", package.extras.join(", ")),
            ("requested", package.requested.to_string()),
            ("source_build", package.source_build.to_string()),
            ("file", package.file.clone().unwrap_or_default()),
            ("path", package.path.clone().unwrap_or_default()),
            ("size", package.size.map(|size| size.to_string()).unwrap_or_default()),
            ("hash", package.hash.clone()),
            ("origin", package.origin.clone().unwrap_or_default()),
            ("unpacked", package.unpacked.map(|size| size.to_string()).unwrap_or_default()),
            ("libraries", package.libraries.join(", ")),
        ];
        facts.rows.insert(("package", package.name.clone()), details);
    }
    facts
}

fn compare(target: Option<&str>, old: &Facts, new: &Facts, changes: &mut Vec<Change>) {
    let mut push = |field: String, old: Option<&String>, new: Option<&String>| {
        if old != new {
            changes.push(Change {
                target: target.map(str::to_owned),
                field,
                old: old.cloned(),
                new: new.cloned(),
            });
        }
    };
    let value =
        |facts: &'_ [(String, String)], field: &str| facts.iter().position(|(f, _)| f == field);
    for (field, after) in &new.plain {
        let before = value(&old.plain, field).map(|index| &old.plain[index].1);
        push(field.clone(), before, Some(after));
    }
    for (field, before) in &old.plain {
        if value(&new.plain, field).is_none() {
            push(field.clone(), Some(before), None);
        }
    }
    let names: BTreeSet<_> = old.rows.keys().chain(new.rows.keys()).gather();
    for name in names {
        let (kind, key) = name;
        match (old.rows.get(name), new.rows.get(name)) {
            (Some(before), Some(after)) => {
                for ((field, before), (_, after)) in before.iter().zip(after) {
                    let some = |text| Some(text).filter(|t: &&String| !t.is_empty());
                    push(format!("{kind} {key} {field}"), some(before), some(after));
                }
            }
            // The first detail tells most: the version, or the name of the card.
            (before, after) => {
                let first = |row: Option<&Vec<(&str, String)>>| {
                    row.and_then(|r| r.first()).map(|(_, v)| v.clone())
                };
                push(format!("{kind} {key}"), first(before).as_ref(), first(after).as_ref());
            }
        }
    }
}
