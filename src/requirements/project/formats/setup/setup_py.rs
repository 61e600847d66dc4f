//! `setup.py`, looked at and never run: what its call of `setup()` says in literals.
//!
//! A literal list, a name that stands for one, sums of them and unconditional `append`s are read.
//! What is computed is named as such, and only that part: the literals beside it are kept.

use std::collections::BTreeSet;

use super::bindings::Bindings;
use super::demand::{Choice, PythonSaid};
use super::link;
use super::literal::{Code, Value, Values};
use super::marker::Marker;
use super::python::{self, Kind, Literal, Source};
use super::reader::Reader;
use super::requirement;
use super::setup_cfg::versions;
use super::source::Text;
use crate::domain::shown;
use crate::requirements::Error;

/// Parts of one argument that are named when they cannot be read.
const MAX_NOTES: usize = 20;
/// Modules whose `setup` is the one that is meant.
const MODULES: &[&str] = &["setuptools", "skbuild", "core"];

/// What `setup()` is told about requirements, and on which line.
#[derive(Debug, Default)]
struct Said {
    install: Option<(usize, Value)>,
    extras: Option<(usize, Value)>,
    python: Option<(usize, Value)>,
    /// `**arguments` that are computed.
    unknown: Vec<Code>,
}

impl Said {
    /// Whether another call says the same, on lines of its own.
    fn agrees(&self, other: &Self) -> bool {
        let values = |said: &Self| {
            [&said.install, &said.extras, &said.python]
                .map(|slot| slot.as_ref().map(|(_, value)| value.clone()))
        };
        values(self) == values(other) && self.unknown == other.unknown
    }
}

/// Reads what a `setup.py` says about requirements and Python.
///
/// # Errors
/// None yet: what cannot be told without running the file is reported, and the rest is kept.
#[allow(clippy::unnecessary_wraps, reason = "all readers of files have this shape")]
pub fn read(text: &Text, reader: &mut Reader) -> Result<(), Error> {
    reader.began(text, "setup.py");
    let source = match python::read(&text.text) {
        Ok(source) => source,
        Err(broken) => {
            let message = format!("setup.py is not looked at: {}", broken.what);
            reader.unread(&text.place(broken.line), message);
            return Ok(());
        }
    };
    let calls = calls(&source);
    let Some(first) = calls.first() else { return Ok(()) };
    let bindings = Bindings::of(&source, &calls);
    let mut values = Values::new(&source, &bindings);
    let said = arguments(&source, &mut values, *first);
    for call in &calls[1..] {
        if !arguments(&source, &mut values, *call).agrees(&said) {
            let line = source.tokens[*call].line;
            let message = "setup() is called again with other requirements: only running setup.py would tell which call counts";
            reader.unread(&text.place(line), message);
            return Ok(());
        }
    }
    Speaker { text, reader, notes: 0 }.say(&said);
    Ok(())
}

/// The tokens of all calls of `setup()`: `setup` itself.
fn calls(source: &Source<'_>) -> Vec<usize> {
    let tokens = &source.tokens;
    let before = |at: usize, by: usize| at.checked_sub(by).and_then(|at| tokens.get(at));
    let ours = |at: usize| match before(at, 1) {
        Some(dot) if dot.is(".") => before(at, 2).is_some_and(|t| MODULES.contains(&t.source)),
        Some(word) => !word.is("def") && !word.is("class"),
        None => true,
    };
    let called = |at: usize| tokens.get(at + 1).is_some_and(|t| t.is("("));
    let all = 0..tokens.len();
    all.filter(|at| tokens[*at].is("setup") && called(*at) && ours(*at))
        .filter(|at| tokens[*at].kind == Kind::Name)
        .collect()
}

/// The arguments of a call that are about requirements.
fn arguments(source: &Source<'_>, values: &mut Values<'_, '_>, call: usize) -> Said {
    let mut said = Said::default();
    let open = call + 1;
    for (name, value) in values.arguments(open + 1..source.tokens[open].close) {
        let slot = match name.as_ref().map(|name| name.text.as_str()) {
            Some("install_requires") => &mut said.install,
            Some("extras_require") => &mut said.extras,
            Some("python_requires") => &mut said.python,
            Some(_) => continue,
            None => {
                if let Value::Computed(code) = value {
                    said.unknown.push(code);
                }
                continue;
            }
        };
        let line = name.and_then(|name| name.lines().next().map(|(line, _)| line));
        *slot = Some((line.unwrap_or(1), value));
    }
    // Python refuses an argument that is given twice: nothing is left for `**more` to say.
    if said.install.is_some() && said.extras.is_some() && said.python.is_some() {
        said.unknown.clear();
    }
    said
}

/// Hands over what was said.
struct Speaker<'t, 'r> {
    text: &'t Text,
    reader: &'r mut Reader,
    notes: usize,
}

impl Speaker<'_, '_> {
    fn say(&mut self, said: &Said) {
        for code in &said.unknown {
            self.computed(code.line, "an argument of setup()", &code.text);
        }
        if let Some((line, value)) = &said.python {
            self.python(*line, value);
        }
        if let Some((line, value)) = &said.install {
            self.whole(*line, "install_requires", value, None, &Marker::default());
        }
        if let Some((line, value)) = &said.extras {
            self.extras(*line, value);
        }
    }

    fn computed(&mut self, line: usize, of: &str, code: &str) {
        let message =
            format!("{of} is computed by `{}`: only running setup.py would tell", shown(code));
        self.note(line, message);
    }

    /// Reports, and has an end: a file may hold thousands of parts that cannot be read.
    fn note(&mut self, line: usize, message: String) {
        self.notes += 1;
        match self.notes {
            0..=MAX_NOTES => self.reader.unread(&self.text.place(line), message),
            n if n == MAX_NOTES + 1 => self.reader.unread(
                &self.text.place(line),
                "this part and others after it cannot be read without running setup.py",
            ),
            _ => (),
        }
    }

    fn python(&mut self, line: usize, value: &Value) {
        match value {
            Value::Text(literal) => match versions(&literal.text) {
                Some(versions) if versions.is_empty() => (),
                Some(versions) => self.reader.project.python.push(PythonSaid {
                    versions,
                    given: literal.text.trim().to_owned(),
                    by: "setup.py python_requires",
                    choice: None,
                    place: self.text.place(literal.lines().next().map_or(line, |(line, _)| line)),
                }),
                None => {
                    let message = format!(
                        "python_requires: `{}` is no range of versions",
                        shown(&literal.text)
                    );
                    self.note(line, message);
                }
            },
            // `None`.
            Value::List(items) if items.is_empty() => (),
            Value::Computed(code) => self.computed(line, "python_requires", &code.text),
            Value::List(_) | Value::Dict(_) => {
                self.note(line, "python_requires is no text".to_owned());
            }
        }
    }

    fn extras(&mut self, line: usize, value: &Value) {
        let entries = match value {
            Value::Dict(entries) => entries,
            Value::List(items) if items.is_empty() => return,
            Value::Computed(code) => return self.computed(line, "extras_require", &code.text),
            Value::List(_) | Value::Text(_) => {
                return self.note(line, "extras_require is no dict".to_owned());
            }
        };
        // Of entries with one key the last counts.
        let mut seen = BTreeSet::new();
        let mut last: Vec<_> = entries
            .iter()
            .rev()
            .filter(|(key, _)| key.as_ref().is_none_or(|key| seen.insert(key.text.as_str())))
            .collect();
        last.reverse();
        for (key, value) in last {
            match key {
                Some(key) => self.extra(key, value),
                None => {
                    if let Value::Computed(code) = value {
                        self.computed(code.line, "a part of extras_require", &code.text);
                    }
                }
            }
        }
    }

    /// `"gpu": [...]`, and the older `"gpu:sys_platform == 'linux'": [...]`.
    fn extra(&mut self, key: &Literal, value: &Value) {
        let line = key.lines().next().map_or(1, |(line, _)| line);
        let (name, condition) = key.text.split_once(':').unwrap_or((&key.text, ""));
        let name = name.trim();
        let marker = match Marker::parse(condition) {
            Ok(marker) => marker,
            Err(why) => {
                let key = shown(&key.text);
                return self.note(line, format!("extras_require: `{key}` is no condition: {why}"));
            }
        };
        let choice = (!name.is_empty()).then(|| Choice::Extra(name.to_owned()));
        let of = format!("extras_require of `{}`", shown(&key.text));
        self.whole(line, &of, value, choice.as_ref(), &marker);
    }

    /// A list of requirements that an argument or an extra is given.
    fn whole(&mut self, line: usize, of: &str, value: &Value, to: Option<&Choice>, on: &Marker) {
        match value {
            Value::Computed(code) => self.computed(line, of, &code.text),
            Value::Dict(_) => self.note(line, format!("{of} is no list")),
            Value::Text(_) | Value::List(_) => self.items(of, value, to, on),
        }
    }

    fn items(&mut self, of: &str, value: &Value, to: Option<&Choice>, on: &Marker) {
        match value {
            Value::Text(literal) => {
                for (line, given) in literal.lines() {
                    if self.reader.enough().is_err() {
                        return;
                    }
                    self.requirement(line, of, given, to, on);
                }
            }
            // As deep as expressions are read.
            Value::List(items) => items.iter().for_each(|item| self.items(of, item, to, on)),
            Value::Computed(code) => {
                self.computed(code.line, &format!("a part of {of}"), &code.text);
            }
            Value::Dict(_) => (),
        }
    }

    fn requirement(
        &mut self,
        line: usize,
        of: &str,
        given: &str,
        to: Option<&Choice>,
        on: &Marker,
    ) {
        // setuptools cuts a line at the first ` #`.
        let given = given.split_once(" #").map_or(given, |(before, _)| before).trim();
        if given.is_empty() || given.starts_with('#') {
            return;
        }
        let place = self.text.place(line);
        let read = if link::is_link(given) && !given.contains(" @ ") {
            Err(format!("`{}` is no requirement: the name is missing", shown(given)))
        } else {
            requirement::read(given, &place)
        };
        match read {
            Ok(mut demand) => {
                demand.choice = to.cloned();
                demand.marker = demand.marker.and(on);
                self.reader.push(demand);
            }
            Err(why) => self.note(line, format!("{of}: {why}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirements::project::Project;
    use crate::requirements::project::source::{Files, MAX_BYTES};

    fn py(content: &str) -> Project {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("setup.py");
        fs_err::write(&path, content).expect("a file");
        let mut reader = Reader::new(Files::of(dir.path()).expect("a folder"));
        let text = reader.files.read(&path, MAX_BYTES).expect("a text");
        read(&text, &mut reader).expect("never refused");
        reader.project
    }

    /// Every demand as `line given` and its extra.
    fn demands(project: &Project) -> Vec<String> {
        let extra = |c: &Option<Choice>| c.as_ref().map_or(String::new(), |c| format!(" {c}"));
        let show = |d: &crate::requirements::project::Demand| {
            format!("{} {}{}", d.place.line, d.given, extra(&d.choice))
        };
        project.demands.iter().map(show).collect()
    }

    /// Every note as `line message`.
    fn notes(project: &Project) -> Vec<String> {
        let line = |f: &crate::domain::Finding| f.place.as_ref().map_or(0, |p| p.line);
        project.findings.iter().map(|f| format!("{} {}", line(f), f.message)).collect()
    }

    #[test]
    fn literals_are_read_with_their_lines() {
        let project = py(
            "from setuptools import setup\nsetup(\n  name='x',\n  python_requires='>=3.10',\n  install_requires=[\n    'torch'\n    '>=2.6',  # why\n    u\"numpy; python_version < '3.12'\",\n  ],\n  extras_require={'gpu': ('triton',), 'all': {'a', 'b'}, ':os_name == \"nt\"': 'c'},\n  tests_require=['pytest'],\n)\n",
        );
        assert_eq!(
            demands(&project),
            [
                "6 torch>=2.6",
                "8 numpy; python_version < '3.12'",
                "10 triton extra `gpu`",
                "10 a extra `all`",
                "10 b extra `all`",
                "10 c"
            ]
        );
        assert_eq!(project.demands[5].marker.text(), Some("os_name == \"nt\""));
        assert_eq!((project.python[0].place.line, project.python[0].given.as_str()), (4, ">=3.10"));
        assert!(project.findings.is_empty());
    }

    #[test]
    fn names_sums_and_changes_are_followed() {
        let project = py(
            "import setuptools\nTORCH = 'torch>=2'\nBASE = [TORCH]\nextras = {}\nextras['gpu'] = ['triton']\nextras.update(dev=['ruff'])\nBASE.append('a')\nBASE += ['b'] + list(('c',))\nextras['all'] = extras['gpu'] + extras['dev']\nif __name__ == '__main__':\n  setuptools.setup(install_requires=[*BASE, 'd'], extras_require=extras)\n",
        );
        assert_eq!(
            demands(&project),
            [
                "2 torch>=2",
                "7 a",
                "8 b",
                "8 c",
                "11 d",
                "5 triton extra `gpu`",
                "6 ruff extra `dev`",
                "5 triton extra `all`",
                "6 ruff extra `all`"
            ]
        );
        assert!(project.findings.is_empty(), "{:?}", notes(&project));
        let project = py(
            "def main():\n  config = dict(install_requires='''\n    torch\n    numpy # x\n  ''')\n  config['python_requires'] = '>=3.9'\n  setup(**config)\nmain()\n",
        );
        assert_eq!(demands(&project), ["3 torch", "4 numpy"]);
        assert_eq!(project.python[0].place.line, 6);
        let project = py("def main():\n  setup(install_requires=REQS)\nREQS = ['torch']\nmain()\n");
        assert_eq!(demands(&project), ["3 torch"]);
        let project = py("setup(extras_require=dict(gpu=['x']), install_requires='a\\nb')\n");
        assert_eq!(demands(&project), ["1 a", "1 b", "1 x extra `gpu`"]);
    }

    #[test]
    fn what_is_computed_is_named_and_the_rest_kept() {
        let project = py(
            "REQS = ['torch']\nif CUDA:\n  REQS.append('triton')\nsetup(\n  install_requires=REQS + more() + ['a' if x else 'b'],\n  extras_require={\n    'doc': read('doc.txt'),\n    'gpu': ['x', f'y{z}', 'v' % 2, b'w'],\n    NAME: ['q'],\n  },\n  **other,\n)\n",
        );
        assert_eq!(demands(&project), ["1 torch", "8 x extra `gpu`"]);
        let text = notes(&project);
        let begins = [
            "11 an argument of setup() is computed by `other`",
            "3 a part of install_requires is computed by `REQS.append('triton')`",
            "5 a part of install_requires is computed by `more()`",
            "5 a part of install_requires is computed by `'a' if x else 'b'`",
            "7 extras_require of `doc` is computed by `read('doc.txt')`",
            "8 a part of extras_require of `gpu` is computed by `f'y{z}'`",
            "8 a part of extras_require of `gpu` is computed by `'v' % 2`",
            "8 a part of extras_require of `gpu` is computed by `b'w'`",
            "9 a part of extras_require is computed by `NAME: ['q']`",
        ];
        assert_eq!(text.len(), begins.len(), "{text:#?}");
        for (note, begin) in text.iter().zip(begins) {
            assert!(note.starts_with(begin), "{note}\n{begin}");
        }
    }

    #[test]
    fn a_note_shows_the_code_that_computes() {
        let project = py(
            "with open('r.txt') as f:\n  reqs = f.read().split()\nsetup(install_requires=reqs)\n",
        );
        assert_eq!(
            notes(&project),
            [
                "3 install_requires is computed by `reqs = f.read().split()`: only running setup.py would tell"
            ]
        );
    }

    #[test]
    fn a_value_that_is_not_certain_is_not_read() {
        for content in [
            "setup(install_requires=open('r.txt').read().splitlines())",
            "setup(install_requires=[l for l in open('r.txt')])",
            "setup(install_requires=['torch'] if x else ['numpy'])",
            "setup(install_requires=['torch'] + ['a'] if x else [])",
            "setup(install_requires=['torch{}'.format(v)])",
            "setup(install_requires=['torch' + v])",
            "setup(install_requires=['torch=={v}'])",
            "setup(install_requires=['git+https://x.example/y'])",
            "from x import REQS\nsetup(install_requires=REQS)",
            "if x:\n  REQS = ['torch']\nelse:\n  REQS = []\nsetup(install_requires=REQS)",
            "REQS = ['torch']\nif x: REQS = []\nsetup(install_requires=REQS)",
            "REQS = ['torch']\nREQS.remove('torch')\nsetup(install_requires=REQS)",
            "REQS = ['torch']\ndef f():\n  global REQS\n  REQS = []\nsetup(install_requires=REQS)",
            "def f():\n  REQS = ['torch']\nsetup(install_requires=REQS)",
            "A = B\nB = A\nsetup(install_requires=A)",
            "setup(install_requires=['torch'])\nsetup(install_requires=['numpy'])",
            "setup(python_requires='three')",
            "setup(**read())",
            "setup(install_requires=['torch'",
        ] {
            let project = py(content);
            assert_eq!(demands(&project), [""; 0], "{content}");
            assert_eq!(notes(&project).len(), 1, "{content}: {:?}", notes(&project));
        }
    }

    #[test]
    fn nothing_said_is_nothing_to_report() {
        for content in [
            "",
            "from setuptools import setup\nsetup()\n",
            "setup(name=read(), version=__version__, cmdclass={'x': y})\n",
            "setup(install_requires=None, extras_require={}, python_requires=None)\n",
            "def setup(install_requires=['torch']): pass\nx.setup(install_requires=['torch'])\n",
            "# setup(install_requires=['torch'])\n'''setup(install_requires=['torch'])'''\n",
        ] {
            let project = py(content);
            assert!(project.demands.is_empty() && project.findings.is_empty(), "{content}");
            assert_eq!(project.files[0].what, "setup.py");
        }
        let twice =
            "try:\n  setup(install_requires=R, e=1)\nexcept E:\n  setup(install_requires=R)\n";
        assert_eq!(demands(&py(&format!("R = ['torch']\n{twice}"))), ["1 torch"]);
        let twice = twice.replace('R', "['torch']");
        assert_eq!(demands(&py(&twice)), ["2 torch"]);
    }

    #[test]
    fn hostile_files_end() {
        use std::fmt::Write as _;
        let mut doubling = "a0 = ['x', f()]\n".to_owned();
        for n in 1..200 {
            let _ = writeln!(doubling, "a{n} = a{0} + a{0}", n - 1);
        }
        let mut changes = "a = []\n".to_owned();
        changes.push_str(&"a += a\n".repeat(100_000));
        for content in [
            "setup(install_requires=['torch; XX'])".replace("XX", &"(".repeat(300_000)),
            "[".repeat(1_000_000),
            "\"".repeat(1_000_000),
            "'".repeat(1_000_001),
            "setup(".repeat(150_000),
            "setup()\n".repeat(100_000),
            "if x:\n".repeat(150_000),
            "a.".repeat(500_000),
            "a[0]".repeat(200_000),
            format!("setup(install_requires=[{}])", "f(),".repeat(200_000)),
            format!("setup(install_requires=[{}])", "'a b',".repeat(150_000)),
            format!("setup(install_requires={})", "'a'+".repeat(200_000)),
            format!("setup(extras_require={{{}}})", "'a':['b'],".repeat(90_000)),
            format!("{doubling}setup(install_requires=a199)"),
            format!("{changes}setup(install_requires=a)"),
            format!("{}setup(install_requires=a)", "a = a\n".repeat(150_000)),
            format!("setup(install_requires={}a{})", "(".repeat(60), ")".repeat(60)),
        ] {
            let project = py(&content);
            assert!(project.findings.len() <= MAX_NOTES + 1, "{}", project.findings.len());
        }
    }
}
