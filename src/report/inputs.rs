//! What was read of a project: as text, and as `gpuseal.inputs`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::{human, json_v1, matrix_line};
use crate::domain::{Finding, Gather as _, Place, Severity, shown};
use crate::matrix::Matrix;
use crate::requirements::project::{Answer, Choice, Demand, Kind, Project, Said};

/// Names in a table that is read by people; the rest is counted.
const MOST_ROWS: usize = 60;

/// Conditions on torch that are compared with each other.
const MOST_MARKERS: usize = 200;

/// Everything that is to be said about a project.
pub struct Inputs<'a> {
    /// What was read.
    pub project: &'a Project,
    /// Sets of its options; `None`: too many.
    pub answers: Option<Vec<Answer>>,
    /// What contradicts what.
    pub findings: Vec<Finding>,
}

#[derive(Serialize)]
struct InputsV1<'a> {
    requires_python: Option<String>,
    python: Vec<PythonV1<'a>>,
    requirements: Vec<RequirementV1<'a>>,
    cuda: CudaV1<'a>,
    answers: Option<Vec<AnswerV1<'a>>>,
    indexes: Vec<IndexV1<'a>>,
    images: Vec<ImageV1<'a>>,
    pins: Vec<PinV1<'a>>,
    environments: Vec<EnvironmentV1<'a>>,
    files: Vec<FileV1<'a>>,
    findings: Vec<json_v1::FindingV1<'a>>,
}

#[derive(Serialize)]
struct PythonV1<'a> {
    spec: String,
    given: &'a str,
    by: &'a str,
    #[serde(flatten)]
    option: OptionV1<'a>,
    origin: &'a Place,
}

/// The option of the project that something belongs to.
#[derive(Serialize, Default)]
struct OptionV1<'a> {
    extra: Option<&'a str>,
    group: Option<&'a str>,
    alternative: Option<&'a str>,
}

#[derive(Serialize)]
struct RequirementV1<'a> {
    name: Option<&'a str>,
    spec: String,
    given: &'a str,
    extras: &'a [String],
    marker: Option<&'a str>,
    index: Option<&'a str>,
    index_name: Option<&'a str>,
    url: Option<&'a str>,
    variant: Option<String>,
    python_tag: Option<&'a str>,
    platform_tag: Option<&'a str>,
    kind: &'static str,
    #[serde(flatten)]
    option: OptionV1<'a>,
    origin: &'a Place,
}

#[derive(Serialize)]
struct CudaV1<'a> {
    /// The build that everything asks for; null when nothing does, or when it depends.
    variant: Option<String>,
    version: Option<String>,
    by: Option<&'static str>,
    origin: Option<&'a Place>,
    said: Vec<SaidV1<'a>>,
}

#[derive(Serialize)]
struct SaidV1<'a> {
    given: &'a str,
    variant: Option<String>,
    by: &'static str,
    package: Option<&'a str>,
    marker: Option<&'a str>,
    #[serde(flatten)]
    option: OptionV1<'a>,
    origin: &'a Place,
}

#[derive(Serialize)]
struct AnswerV1<'a> {
    name: String,
    extras: Vec<&'a str>,
    groups: Vec<&'a str>,
    alternatives: Vec<&'a str>,
    torch: Option<String>,
    variant: Option<String>,
    version: Option<String>,
    by: Option<&'static str>,
    origin: Option<&'a Place>,
}

#[derive(Serialize)]
struct IndexV1<'a> {
    url: &'a str,
    name: Option<&'a str>,
    variant: Option<String>,
    explicit: bool,
    extra: bool,
    origin: &'a Place,
}

#[derive(Serialize)]
struct ImageV1<'a> {
    reference: &'a str,
    stage: Option<&'a str>,
    origin: &'a Place,
}

#[derive(Serialize)]
struct PinV1<'a> {
    name: &'a str,
    version: String,
    from: Option<&'a str>,
    origin: &'a Place,
}

#[derive(Serialize)]
struct EnvironmentV1<'a> {
    marker: Option<&'a str>,
    required: bool,
    origin: &'a Place,
}

#[derive(Serialize)]
struct FileV1<'a> {
    path: &'a str,
    kind: &'a str,
}

fn option(choice: Option<&Choice>) -> OptionV1<'_> {
    let mut option = OptionV1::default();
    match choice {
        Some(Choice::Extra(name)) => option.extra = Some(name),
        Some(Choice::Group(name)) => option.group = Some(name),
        Some(Choice::File(name) | Choice::Stage(name)) => option.alternative = Some(name),
        None => (),
    }
    option
}

impl<'a> Inputs<'a> {
    /// Judges a project.
    pub fn of(project: &'a Project) -> Self {
        Self { project, answers: project.answers(), findings: project.judged() }
    }

    /// Whether lines contradict each other.
    pub fn contradict(&self) -> bool {
        self.findings.iter().any(|f| f.severity == Severity::Error)
    }

    /// The range of Python, as the file that decides says it.
    fn requires_python(&self) -> Option<String> {
        let ranges = [
            "requires-python",
            "Poetry's python",
            "setup.cfg python_requires",
            "setup.py python_requires",
        ];
        let said = &self.project.python;
        let first = said.iter().find(|s| ranges.contains(&s.by)).or_else(|| said.first())?;
        Some(first.versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
    }

    /// The build of all answers together.
    fn asked(&self) -> Option<Said<'_>> {
        let answers = self.answers.as_ref()?;
        let mut all = answers.iter().map(|answer| self.project.asked(answer));
        let first = all.next()??;
        all.all(|other| other.is_some_and(|o| o.variant == first.variant)).then_some(first)
    }

    /// Versions of torch that an answer asks for; `None` when it depends on the environment.
    fn torch(&self, answer: &Answer) -> Option<String> {
        let demands: Vec<&Demand> = self
            .project
            .demands
            .iter()
            .filter(|d| {
                d.name == "torch" && d.kind != Kind::Constraint && answer.has(d.choice.as_ref())
            })
            .collect();
        let mut seen = BTreeSet::new();
        let markers: Vec<_> =
            demands.iter().map(|d| &d.marker).filter(|m| seen.insert(m.text())).collect();
        let depends = markers.len() > MOST_MARKERS
            || markers.iter().any(|a| markers.iter().any(|b| a.excludes(b)));
        if demands.is_empty() || depends {
            return None;
        }
        let mut seen = BTreeSet::new();
        let specs: Vec<String> = demands
            .iter()
            .flat_map(|d| d.versions.iter().map(ToString::to_string))
            .filter(|spec| seen.insert(spec.clone()))
            .collect();
        Some(specs.join(","))
    }

    /// `gpuseal.inputs`
    pub fn json(&self, matrix: &Matrix) -> String {
        let project = self.project;
        let asked = self.asked();
        let named: BTreeSet<&str> = project.demands.iter().map(|d| d.name.as_str()).gather();
        let body = InputsV1 {
            requires_python: self.requires_python(),
            python: project
                .python
                .iter()
                .map(|said| PythonV1 {
                    spec: said
                        .versions
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join(","),
                    given: &said.given,
                    by: said.by,
                    option: option(said.choice.as_ref()),
                    origin: &said.place,
                })
                .collect(),
            requirements: project.demands.iter().map(requirement).collect(),
            cuda: CudaV1 {
                variant: asked.as_ref().map(|s| s.variant.to_string()),
                version: asked.as_ref().and_then(|s| s.variant.cuda()).map(|c| c.to_string()),
                by: asked.as_ref().map(|s| s.by.word()),
                origin: asked.as_ref().map(|s| s.place),
                said: self.said(),
            },
            answers: self
                .answers
                .as_ref()
                .map(|list| list.iter().map(|answer| self.answer(answer)).collect()),
            indexes: project
                .indexes
                .iter()
                .map(|index| IndexV1 {
                    url: &index.url,
                    name: index.name.as_deref(),
                    variant: index.variant.map(|v| v.to_string()),
                    explicit: index.explicit,
                    extra: index.extra,
                    origin: &index.place,
                })
                .collect(),
            images: project
                .images
                .iter()
                .map(|image| ImageV1 {
                    reference: &image.reference,
                    stage: image.stage.as_deref(),
                    origin: &image.place,
                })
                .collect(),
            // A lock pins hundreds; those that somebody asked for are what can disagree.
            pins: project
                .pins
                .iter()
                .filter(|pin| pin.name == "torch" || named.contains(pin.name.as_str()))
                .map(|pin| PinV1 {
                    name: &pin.name,
                    version: pin.version.to_string(),
                    from: pin.from.as_deref(),
                    origin: &pin.place,
                })
                .collect(),
            environments: project
                .environments
                .iter()
                .map(|one| EnvironmentV1 {
                    marker: one.marker.text(),
                    required: one.required,
                    origin: &one.place,
                })
                .collect(),
            files: project.files.iter().map(|f| FileV1 { path: &f.name, kind: f.what }).collect(),
            findings: self.findings.iter().map(json_v1::finding).collect(),
        };
        json_v1::document("gpuseal.inputs", matrix, body)
    }

    fn said(&self) -> Vec<SaidV1<'_>> {
        let exact = self.project.said().into_iter().map(|said| SaidV1 {
            given: said.given,
            variant: Some(said.variant.to_string()),
            by: said.by.word(),
            package: Some(said.package).filter(|p| !p.is_empty()),
            marker: said.marker.text(),
            option: option(said.choice),
            origin: said.place,
        });
        let ranges =
            self.project.cuda.iter().filter(|said| said.variant.is_none()).map(|said| SaidV1 {
                given: &said.given,
                variant: None,
                by: said.by.word(),
                package: Some(said.package.as_str()).filter(|p| !p.is_empty()),
                marker: said.marker.text(),
                option: option(said.choice.as_ref()),
                origin: &said.place,
            });
        exact.chain(ranges).collect()
    }

    fn answer<'s>(&'s self, answer: &'s Answer) -> AnswerV1<'s> {
        let asked = self.project.asked(answer);
        let named = |is: fn(&Choice) -> bool| {
            answer.choices.iter().filter(|c| is(c)).map(Choice::name).collect()
        };
        AnswerV1 {
            name: answer.name(),
            extras: named(|c| matches!(c, Choice::Extra(_))),
            groups: named(|c| matches!(c, Choice::Group(_))),
            alternatives: named(|c| matches!(c, Choice::File(_) | Choice::Stage(_))),
            torch: self.torch(answer),
            variant: asked.as_ref().map(|s| s.variant.to_string()),
            version: asked.as_ref().and_then(|s| s.variant.cuda()).map(|c| c.to_string()),
            by: asked.as_ref().map(|s| s.by.word()),
            origin: asked.as_ref().map(|s| s.place),
        }
    }

    /// Text: the verdict, the requirements with their lines, then what is to be said about them.
    pub fn human(&self, matrix: &Matrix) -> String {
        let project = self.project;
        let mut text = String::new();
        let errors = self.findings.iter().filter(|f| f.severity == Severity::Error).count();
        let files = count(project.files.len(), "file");
        let demands = count(project.demands.len(), "requirement");
        let _ = match (project.files.is_empty(), errors) {
            (true, _) => writeln!(
                text,
                "{}: no file here says what the project needs",
                human::paint(human::WARN, "nothing")
            ),
            (_, 0) => writeln!(
                text,
                "{}: {demands} in {files}, and none contradicts another",
                human::paint(human::GOOD, "ok")
            ),
            (_, errors) => writeln!(
                text,
                "{}: {} among {demands} in {files}",
                human::paint(human::BAD, "error"),
                count(errors, "contradiction")
            ),
        };
        if let Some(python) = self.project.python.first() {
            let _ = writeln!(
                text,
                "  python  {}  {}",
                self.requires_python().unwrap_or_default(),
                human::paint(human::DIM, format!("[{}]", python.place))
            );
        }
        self.builds(&mut text);
        if !project.demands.is_empty() {
            text.push('\n');
            table(&project.demands, &mut text);
        }
        for finding in &self.findings {
            text.push('\n');
            human::finding(finding, &mut text);
        }
        let mut seen = BTreeSet::new();
        let read: Vec<&str> =
            project.files.iter().map(|f| f.name.as_str()).filter(|n| seen.insert(*n)).collect();
        let read = if read.is_empty() { "nothing".into() } else { read.join(", ") };
        let _ = writeln!(
            text,
            "\n{}",
            human::paint(human::DIM, format!("read: {read}; {}", matrix_line(matrix)))
        );
        text
    }

    fn builds(&self, text: &mut String) {
        let Some(answers) = &self.answers else {
            let _ = writeln!(
                text,
                "  cuda    too many options exclude each other: name some with --extra or --group"
            );
            return;
        };
        if let Some(said) = self.asked() {
            let _ = writeln!(text, "  cuda    {}", build_line(&said));
        } else if answers.len() > 1 {
            for answer in answers {
                let build = self.build(answer);
                let _ = writeln!(text, "  with    {}: {build}", answer.name());
            }
        } else if let Some(answer) = answers.first().filter(|_| !self.project.said().is_empty()) {
            let _ = writeln!(text, "  cuda    {}", self.build(answer));
        }
    }

    /// The build of an answer in words: one, another for each environment, or any.
    fn build(&self, answer: &Answer) -> String {
        if let Some(said) = self.project.asked(answer) {
            return build_line(&said);
        }
        let mut builds: Vec<String> = Vec::new();
        for said in self.project.said().iter().filter(|said| answer.has(said.choice)) {
            let word = said
                .marker
                .text()
                .map_or(String::new(), |m| format!(" if {}", crate::domain::shown(m)));
            let build = format!("{}{word}", said.variant);
            if !builds.contains(&build) {
                builds.push(build);
            }
        }
        if builds.is_empty() { "any build".into() } else { builds.join(", ") }
    }
}

fn build_line(said: &Said<'_>) -> String {
    let place = human::paint(human::DIM, format!("[{}]", said.place));
    format!("{} by {}  {place}", said.variant, said.by.word())
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn requirement(demand: &Demand) -> RequirementV1<'_> {
    let index = demand.index.as_ref();
    let link = demand.link.as_ref();
    RequirementV1 {
        name: Some(demand.name.as_str()).filter(|n| !n.is_empty()),
        spec: demand.spec(),
        given: &demand.given,
        extras: &demand.extras,
        marker: demand.marker.text(),
        index: index.map(|i| i.url.as_str()),
        index_name: index.and_then(|i| i.name.as_deref()),
        url: link.map(|l| l.address.as_str()),
        variant: demand.variants().first().map(|(_, v)| v.to_string()),
        python_tag: link.and_then(|l| l.python.as_deref()),
        platform_tag: link.and_then(|l| l.platform.as_deref()),
        kind: demand.kind.word(),
        option: option(demand.choice.as_ref()),
        origin: &demand.place,
    }
}

fn table(demands: &[Demand], text: &mut String) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    for demand in demands.iter().take(MOST_ROWS) {
        let index = demand.index.as_ref();
        let mut notes: Vec<String> = demand.choice.iter().map(ToString::to_string).collect();
        notes.extend(index.map(|i| format!("from {}", i.name.as_ref().unwrap_or(&i.url))));
        notes.extend(
            demand.link.as_ref().map(|l| format!("at {}", crate::domain::shown(&l.address))),
        );
        if demand.kind != Kind::Requirement {
            notes.push(demand.kind.word().to_owned());
        }
        notes.extend(demand.marker.text().map(|m| format!("if {}", crate::domain::shown(m))));
        table.add_row([
            format!("  {}", shown(&demand.name)),
            shown(&demand.spec()),
            demand.place.to_string(),
            notes.join(", "),
        ]);
    }
    for line in table.lines() {
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if demands.len() > MOST_ROWS {
        let _ = writeln!(text, "  and {} more; --format json lists all", demands.len() - MOST_ROWS);
    }
}
