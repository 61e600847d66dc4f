//! Reads a Dockerfile that exists: its base images, and what its commands install.
//!
//! Nothing of it is run. Stages that the last one is not made of are options of the project, as
//! extras are: what they say holds only where one of them is built.

mod conda;
mod image;
mod installs;
mod lines;
mod pip;
mod shell;
mod vars;
mod words;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use self::image::Told;
pub use self::image::python_version;
pub use self::installs::Installs;
use self::lines::Instruction;
pub use self::vars::Traced;
use self::vars::{Value, Vars, Word};
use self::words::{Dialect, Words};
use super::demand::{By, Choice, CudaSaid, Demand, Image, Kind, PythonSaid};
use super::marker::Marker;
use super::reader::Reader;
use super::source::Text;
use crate::domain::{WheelVariant, shown, without_block};
use crate::requirements::Error;

/// A stage, before its instructions are read.
struct Stage<'i> {
    name: Option<String>,
    /// The image it begins with; `None`: another stage, or nothing.
    image: Option<Word>,
    parent: Option<usize>,
    /// Stages whose files it takes.
    takes: Vec<usize>,
    instructions: &'i [Instruction],
}

/// Reads a Dockerfile.
///
/// # Errors
/// A requirement file that it installs from cannot be read.
pub fn read(text: &Text, reader: &mut Reader, choice: Option<&Choice>) -> Result<(), Error> {
    reader.began(text, "Dockerfile");
    let before =
        (reader.project.indexes.len(), reader.project.cuda.len(), reader.project.findings.len());
    let (instructions, escape) = lines::read(&without_block(&text.text));
    let dialect = Dialect::Docker(escape);
    let mut globals = Vars::default();
    let stages = stages(&instructions, dialect, &mut globals);
    let globals = globals.end_stage();
    let (chain, used) = made_of(&stages);
    let mut ends: Vec<BTreeMap<String, Value>> = Vec::with_capacity(stages.len());
    let mut on = Installs::new(text, reader);
    for (at, stage) in stages.iter().enumerate() {
        on.choice = if used.contains(&at) {
            choice.cloned()
        } else {
            Some(Choice::Stage(stage.name.clone().unwrap_or_else(|| at.to_string())))
        };
        on.vars.begin_stage(stage.parent.and_then(|parent| ends.get(parent)));
        on.any = false;
        for instruction in stage.instructions {
            on.instruction(instruction, dialect, &globals)?;
        }
        ends.push(on.vars.end_stage());
        // A stage that only lends its files says nothing of the Python they are used with, unless
        // packages were installed there.
        let speaks = chain.contains(&at) || !used.contains(&at) || on.any;
        on.image(stage, speaks);
    }
    once(reader, before);
    Ok(())
}

/// The stages. What `ARG` says before the first one is put into the names of their images.
fn stages<'i>(
    instructions: &'i [Instruction],
    dialect: Dialect,
    globals: &mut Vars,
) -> Vec<Stage<'i>> {
    let mut stages: Vec<Stage<'_>> = Vec::new();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut first = 0;
    for (at, instruction) in instructions.iter().enumerate() {
        let begins = instruction.name == "FROM";
        if begins {
            let words = Words::all(&instruction.rest, dialect, globals);
            let name = words.get(1).filter(|word| word.as_str().eq_ignore_ascii_case("as"));
            let name = name.and(words.get(2)).map(|word| word.as_str().to_owned());
            let base = words.into_iter().next();
            let parent =
                base.as_ref().and_then(|word| names.get(&word.as_str().to_lowercase()).copied());
            let image = base.filter(|word| parent.is_none() && word.as_str() != "scratch");
            if let Some(name) = &name {
                names.insert(name.to_lowercase(), stages.len());
            }
            stages.push(Stage { name, image, parent, takes: Vec::new(), instructions: &[] });
            first = at + 1;
        } else if stages.is_empty() && instruction.name == "ARG" {
            for word in Words::all(&instruction.rest, dialect, globals) {
                if let Some((name, value)) = word.assignment() {
                    globals.set(name, &value, false);
                }
            }
            continue;
        } else if stages.is_empty() {
            // No `FROM` so far: what is there is read all the same.
            let (name, image, parent) = (None, None, None);
            stages.push(Stage { name, image, parent, takes: Vec::new(), instructions: &[] });
            first = at;
        }
        let count = stages.len();
        if let Some(stage) = stages.last_mut() {
            stage.instructions = if begins { &[] } else { &instructions[first..=at] };
            for from in sources(instruction) {
                let other = names.get(&from.to_lowercase()).copied();
                let other = other.or_else(|| from.parse().ok());
                stage.takes.extend(other.filter(|other| *other + 1 < count));
            }
        }
    }
    stages
}

/// Stages that an instruction takes files from.
fn sources(instruction: &Instruction) -> impl Iterator<Item = &str> {
    instruction.flags.iter().flat_map(|flag| {
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        let whole = (name == "from").then_some(value);
        let mount = value.split(',').filter_map(|part| part.strip_prefix("from="));
        whole.into_iter().chain(mount.filter(move |_| name == "mount"))
    })
}

/// Stages that the last one goes on from, and all that it is made of.
fn made_of(stages: &[Stage<'_>]) -> (BTreeSet<usize>, BTreeSet<usize>) {
    let mut chain = BTreeSet::new();
    let mut next = stages.len().checked_sub(1);
    while let Some(at) = next {
        chain.insert(at);
        next = stages[at].parent;
    }
    let mut used = BTreeSet::new();
    let mut open: Vec<usize> = stages.len().checked_sub(1).into_iter().collect();
    while let Some(at) = open.pop() {
        if used.insert(at) {
            open.extend(stages[at].parent.iter().chain(&stages[at].takes));
        }
    }
    (chain, used)
}

impl Installs<'_> {
    fn instruction(
        &mut self,
        instruction: &Instruction,
        dialect: Dialect,
        globals: &BTreeMap<String, Value>,
    ) -> Result<(), Error> {
        let rest = &instruction.rest;
        match instruction.name.as_str() {
            "ARG" => {
                for word in Words::all(rest, dialect, &mut self.vars) {
                    if let Some((name, value)) = word.assignment() {
                        self.vars.set(name, &value, false);
                    } else if let Some(value) = globals.get(word.as_str()) {
                        let len = value.text.as_ref().map_or(0, String::len);
                        let counted = self.vars.spend(len);
                        let text = value.text.as_deref().filter(|_| counted);
                        let mut set = Word::literal(text.unwrap_or_default(), value.line);
                        set.unknown = text.is_none().then(|| word.as_str().to_owned());
                        self.vars.set(word.as_str(), &set, false);
                    }
                }
            }
            "ENV" => {
                let words = Words::all(rest, dialect, &mut self.vars);
                if words.first().is_some_and(|word| word.assignment().is_none()) {
                    // `ENV NAME value with spaces`, as it was written once.
                    let mut value = Word::literal("", words.get(1).map_or(1, Word::line));
                    for (nth, word) in words[1..].iter().enumerate() {
                        let space = if nth > 0 { " " } else { "" };
                        value.text.push(&format!("{space}{}", word.as_str()), value.line());
                        value.unknown = value.unknown.or_else(|| word.unknown.clone());
                    }
                    self.vars.set(words[0].as_str(), &value, true);
                    return Ok(());
                }
                for word in &words {
                    if let Some((name, value)) = word.assignment() {
                        self.vars.set(name, &value, true);
                    }
                }
            }
            "COPY" | "ADD" => {
                if instruction.flags.iter().any(|flag| flag.starts_with("from=")) {
                    return Ok(());
                }
                let words: Vec<String> = if let Some(words) = lines::exec_form(rest) {
                    words.into_iter().map(|(word, _)| word).collect()
                } else {
                    let words = Words::all(rest, dialect, &mut self.vars).into_iter();
                    words.map(|word| word.text.text).collect()
                };
                if let Some((to, from)) = words.split_last() {
                    for from in from {
                        self.copied(from, to);
                    }
                }
            }
            "RUN" => {
                for mount in instruction.flags.iter().filter_map(|flag| flag.strip_prefix("mount="))
                {
                    let value = |names: [&str; 3]| {
                        let mut pairs = mount.split(',').filter_map(|part| part.split_once('='));
                        pairs.find(|(name, _)| names.contains(name)).map(|(_, value)| value)
                    };
                    if let (None, Some(from), Some(to)) = (
                        value(["from", "", ""]),
                        value(["source", "src", ""]),
                        value(["target", "dst", "destination"]),
                    ) {
                        self.copied(from, to);
                    }
                }
                match lines::exec_form(rest) {
                    Some(words) => self.exec(&words)?,
                    None => self.script(rest, &instruction.bodies)?,
                }
            }
            _ => (),
        }
        Ok(())
    }

    /// Takes the base image of a stage.
    fn image(&mut self, stage: &Stage<'_>, speaks_of_python: bool) {
        let Some(word) = &stage.image else { return };
        let place = self.text.place(word.line());
        let reference = word.as_str();
        if let Some(name) = &word.unknown {
            let message = format!(
                "the base image `{}` depends on the variable `{}`",
                shown(reference),
                shown(name)
            );
            self.reader.unread(&place, message);
            return;
        }
        let project = &mut self.reader.project;
        project.images.push(Image {
            reference: reference.to_owned(),
            stage: stage.name.clone(),
            place: place.clone(),
        });
        match image::read(reference) {
            Told::Python(versions) if speaks_of_python => project.python.push(PythonSaid {
                versions,
                given: reference.to_owned(),
                by: "base image",
                choice: self.choice.clone(),
                place,
            }),
            Told::Torch(versions, cuda) => {
                let mut demand = Demand::new("torch", reference, place.clone());
                demand.versions = versions;
                demand.kind = Kind::Hint;
                demand.choice.clone_from(&self.choice);
                project.demands.push(demand);
                if let Some(cuda) = cuda {
                    project.cuda.push(CudaSaid {
                        given: cuda.to_string(),
                        variant: WheelVariant::of_cuda(cuda.series()),
                        by: By::Image,
                        package: "torch".into(),
                        marker: Marker::default(),
                        choice: self.choice.clone(),
                        place,
                    });
                }
            }
            _ => (),
        }
    }
}

/// An `ENV` that holds for several commands is said once.
fn once(reader: &mut Reader, before: (usize, usize, usize)) {
    let mut seen = BTreeSet::new();
    let mut tail = reader.project.indexes.split_off(before.0);
    tail.retain(|index| seen.insert((index.place.clone(), index.url.clone(), None)));
    reader.project.indexes.append(&mut tail);
    seen.clear();
    let mut tail = reader.project.cuda.split_off(before.1);
    tail.retain(|said| {
        let given = format!("{} {}", said.package, said.given);
        seen.insert((said.place.clone(), given, said.choice.clone()))
    });
    reader.project.cuda.append(&mut tail);
    seen.clear();
    let mut tail = reader.project.findings.split_off(before.2);
    tail.retain(|finding| {
        let place = finding.place.clone();
        place.is_none_or(|place| seen.insert((place, finding.message.clone(), None)))
    });
    reader.project.findings.append(&mut tail);
}
