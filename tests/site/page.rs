//! The page: docs/site/page.html with its hole filled by every answer, each distinct text once.
//!
//! The shape of the data, as the page and `lookup` read it. A number is a place in a table:
//! * `rows[grid[class][platform][python]]` is `[open, [per branch], [exceptions]]`: the answer when no
//!   driver is named; for each branch `[answer, minor, patch, answer, ...]`, where an answer holds from
//!   its number on; and `branch, answer` where the bare branch is not its first release.
//! * `answers`: `[stack, findings, mode, choices, yours]`, or `[-1 or -2, clash, findings, cures]` where
//!   nothing fits or nothing is known to.
//! * `stacks`: see `stack`; `findings`: `[code, severity, message, [text, source...], [help...]]`;
//!   `links`: `[link, text, source]`, of which a chain holds -1 and -2 for what is said of the card alone.

use std::collections::HashMap;
use std::hash::Hash;

use base64::Engine as _;
use gpuseal::domain::{Finding, Sha256};
use gpuseal::lock::Lockfile;
use gpuseal::matrix::Matrix;
use gpuseal::render::{Kind, Options, render};
use gpuseal::report::TOOL;
use gpuseal::report::why::Link;
use gpuseal::resolve::physics::Served;
use gpuseal::resolve::{DriverMode, Explanation, PinIndex, Resolution, Stack};
use serde_json::{Value, json};

use super::grid::{Answer, Grid, PLATFORMS, Row, own};

/// What stands in a Dockerfile for the digest of a lock that nobody wrote.
pub(crate) const UNLOCKED: &str = "unlocked";

/// Values by their place; the same value has one place.
struct Table<T> {
    places: HashMap<T, usize>,
    values: Vec<T>,
}

impl<T: Hash + Eq + Clone> Table<T> {
    fn new() -> Self {
        Self { places: HashMap::new(), values: Vec::new() }
    }

    fn put(&mut self, value: T) -> i64 {
        let next = self.values.len();
        let place = *self.places.entry(value.clone()).or_insert(next);
        if place == next {
            self.values.push(value);
        }
        i64::try_from(place).expect("a table of this size")
    }
}

/// Everything that answers are made of.
struct Pack<'m> {
    matrix: &'m Matrix,
    texts: Table<String>,
    lists: Table<Vec<i64>>,
    links: Table<[i64; 3]>,
    findings: Table<String>,
    stacks: Table<String>,
    answers: Table<Vec<i64>>,
    rows: Table<String>,
    /// Dockerfiles by what they are made of: rendering is what takes long.
    dockerfiles: HashMap<String, i64>,
}

/// The data of the page.
pub(crate) fn data(grid: &Grid) -> Value {
    let matrix = &grid.matrix;
    let mut pack = Pack {
        matrix,
        texts: Table::new(),
        lists: Table::new(),
        links: Table::new(),
        findings: Table::new(),
        stacks: Table::new(),
        answers: Table::new(),
        rows: Table::new(),
        dockerfiles: HashMap::new(),
    };
    let table: Vec<Vec<Vec<i64>>> = grid
        .rows
        .iter()
        .map(|class| {
            class.each_ref().map(|rows| rows.iter().map(|row| pack.row(row)).collect()).into()
        })
        .collect();
    let cards: Vec<Value> = grid
        .cards
        .iter()
        .map(|card| {
            let facts: Vec<i64> = card.facts.iter().map(|link| pack.link(link)).collect();
            let found = &card.found;
            let capability = found.capability.to_string();
            let host = found.host.map(|host| PLATFORMS.iter().position(|p| *p == host));
            json!([
                found.name,
                found.given,
                capability,
                card.architecture,
                card.class,
                card.names,
                facts,
                host
            ])
        })
        .collect();
    let branches: Vec<Value> = grid
        .branches
        .iter()
        .filter_map(|branch| matrix.branch(*branch))
        .map(|row| {
            let first = row.first_data_center.map(|v| v.to_string());
            let source = matrix.cite_best(&row.evidence);
            json!([row.branch, row.cuda.to_string(), first, row.kind, row.eol, source])
        })
        .collect();
    let parsed = |texts: &[String]| -> Vec<Value> {
        texts.iter().map(|text| serde_json::from_str(text).expect("of our own")).collect()
    };
    json!({
        "matrix": [matrix.id, matrix.date, matrix.digest],
        "version": TOOL.1,
        "platforms": PLATFORMS.map(|platform| platform.to_string()),
        "pythons": grid.pythons.iter().map(|p| p.map(|p| p.to_string())).collect::<Vec<_>>(),
        "branches": branches,
        "cards": cards,
        "grid": table,
        "rows": parsed(&pack.rows.values),
        "answers": pack.answers.values,
        "stacks": parsed(&pack.stacks.values),
        "findings": parsed(&pack.findings.values),
        "links": pack.links.values,
        "lists": pack.lists.values,
        "texts": pack.texts.values,
    })
}

impl Pack<'_> {
    fn row(&mut self, row: &Row) -> i64 {
        let open = self.answer(&row.open);
        let branches: Vec<Vec<i64>> = row
            .steps
            .iter()
            .map(|steps| {
                let mut list: Vec<i64> = Vec::new();
                for (step, answer) in steps {
                    let answer = self.answer(answer);
                    if list.last() == Some(&answer) {
                        continue;
                    }
                    if !list.is_empty() {
                        let [_, minor, patch] = step.from.numbers();
                        list.extend([i64::from(minor), i64::from(patch)]);
                    }
                    list.push(answer);
                }
                list
            })
            .collect();
        let bare: Vec<i64> = row
            .bare
            .iter()
            .flat_map(|(at, answer)| [i64::try_from(*at).expect("a branch"), self.answer(answer)])
            .collect();
        self.rows.put(json!([open, branches, bare]).to_string())
    }

    fn answer(&mut self, answer: &Answer) -> i64 {
        let packed = match answer {
            Answer::Fits(stack, links) => self.fits(stack, links),
            Answer::None(why) => self.none(why),
        };
        self.answers.put(packed)
    }

    fn fits(&mut self, stack: &Stack, links: &[Link]) -> Vec<i64> {
        let (choices, others): (Vec<&Link>, Vec<&Link>) =
            links.iter().partition(|link| link.link == "choice");
        let (yours, others): (Vec<&Link>, Vec<&Link>) =
            others.into_iter().partition(|link| link.text.starts_with("yours is "));
        let chain: Vec<i64> = others
            .into_iter()
            .map(|link| match own(link) {
                true if link.link == "gpu" => -1,
                true => -2,
                false => self.link(link),
            })
            .collect();
        let choices: Vec<i64> = choices.into_iter().map(|link| self.link(link)).collect();
        let yours = yours.first().map_or(-1, |link| self.link(link));
        let mode = match stack.driver.mode {
            None => 0,
            Some(DriverMode::Native) => 1,
            Some(DriverMode::MinorCompat) => 2,
            Some(DriverMode::ForwardCompat) => 3,
        };
        let (chain, choices) = (self.lists.put(chain), self.lists.put(choices));
        let findings = self.findings(&stack.findings);
        vec![self.stack(stack, chain), findings, mode, choices, yours]
    }

    /// `[torch, build, requirement, index page or null, python, CUDA, cuDNN, NCCL, Triton, image, how it
    /// is served, code, oldest driver, full driver, last branch, glibc, chain, Dockerfile]`
    fn stack(&mut self, stack: &Stack, chain: i64) -> i64 {
        let (how, code) = match stack.gpus[0].served {
            Some(Served::Exact(code)) => ("exact", Some(code)),
            Some(Served::SameMajor(code)) => ("same-major", Some(code)),
            Some(Served::Ptx(code)) => ("ptx", Some(code)),
            Some(Served::Nothing) => ("nothing", None),
            Some(Served::Unknown) | None => ("unknown", None),
        };
        let variant = self.matrix.release(stack.torch).and_then(|r| r.variant(stack.variant));
        let labelled = variant.and_then(|v| v.build(stack.platform)).is_none_or(|b| b.labelled);
        let page = match stack.packages.iter().find(|p| p.name == "torch").map(|p| p.index) {
            Some(PinIndex::Pytorch(page)) => Some(page.to_string()),
            _ => None,
        };
        let requirement = match &page {
            Some(page) if labelled => format!("torch=={}+{page}", stack.torch),
            _ => format!("torch=={}", stack.torch),
        };
        let dockerfile = self.dockerfile(stack);
        let text = |value: Option<&dyn ToString>| value.map(ToString::to_string);
        let row = json!([
            stack.torch.to_string(),
            stack.variant.to_string(),
            requirement,
            page,
            stack.python.to_string(),
            stack.cuda.to_string(),
            text(stack.cudnn.as_ref().map(|v| v as _)),
            stack.nccl,
            stack.triton,
            format!("{}:{}", stack.base.repository, stack.base.tag),
            how,
            code.map(|code| code.to_string()),
            text(stack.driver.min.as_ref().map(|v| v as _)),
            text(stack.driver.native.as_ref().map(|v| v as _)),
            stack.driver.max_branch,
            text(stack.glibc_min.as_ref().map(|v| v as _)),
            chain,
            dockerfile,
        ]);
        self.stacks.put(row.to_string())
    }

    fn dockerfile(&mut self, stack: &Stack) -> i64 {
        let (driver, compat) =
            (&stack.driver, stack.driver.mode == Some(DriverMode::ForwardCompat));
        let bounds = (driver.min, driver.native, driver.max_branch, compat);
        let parts =
            (stack.torch, stack.variant, stack.python, stack.platform, &stack.gpus, &stack.base);
        let key = format!("{parts:?} {bounds:?} {:?} {:?}", stack.packages, stack.from_pypi);
        if let Some(known) = self.dockerfiles.get(&key) {
            return *known;
        }
        let text = dockerfile(stack, self.matrix);
        let lines = text.lines().map(|line| self.texts.put(line.to_owned())).collect();
        let list = self.lists.put(lines);
        self.dockerfiles.insert(key, list);
        list
    }

    fn none(&mut self, why: &Explanation) -> Vec<i64> {
        let clash: Vec<i64> = why.clash.iter().map(|t| self.texts.put(t.clone())).collect();
        let cures: Vec<i64> = why
            .cures
            .iter()
            .flat_map(|cure| [&cure.change, &cure.gives])
            .map(|text| self.texts.put(text.clone()))
            .collect();
        let clash = self.lists.put(clash);
        let findings = self.findings(&why.reasons);
        vec![if why.unknown { -2 } else { -1 }, clash, findings, self.lists.put(cures)]
    }

    fn link(&mut self, link: &Link) -> i64 {
        let texts = [link.link, &link.text, &link.source].map(str::to_owned);
        let places = texts.map(|text| self.texts.put(text));
        self.links.put(places)
    }

    fn findings(&mut self, findings: &[Finding]) -> i64 {
        let list = findings.iter().map(|finding| self.finding(finding)).collect();
        self.lists.put(list)
    }

    fn finding(&mut self, finding: &Finding) -> i64 {
        let mut put = |text: &str| self.texts.put(text.to_owned());
        let facts: Vec<i64> =
            finding.facts.iter().flat_map(|f| [put(&f.text), put(&f.source)]).collect();
        let help: Vec<i64> = finding.help.iter().map(|text| put(text)).collect();
        let (code, severity) = (finding.code.word(), finding.severity.to_string());
        let row = json!([code, severity, put(&finding.message), facts, help]);
        self.findings.put(row.to_string())
    }
}

/// The Dockerfile of `gpuseal lock --offline --render dockerfile`, in a project with this target alone.
pub(crate) fn dockerfile(stack: &Stack, matrix: &Matrix) -> String {
    let stack = Stack { target: "default".into(), ..stack.clone() };
    let resolution = Resolution { stacks: vec![stack], left_out: Vec::new() };
    let lock = Lockfile::from_resolution(&resolution, matrix, "").expect("a lock");
    let targets: Vec<_> = lock.targets.iter().collect();
    let text =
        render(Kind::Dockerfile, &lock, &targets, &Options::default()).expect("a Dockerfile");
    text.replace(&lock.digest().to_string(), UNLOCKED)
}

/// The page with its data. `<` cannot end a script early, and only what stands here is run.
pub(crate) fn page(template: &str, data: &Value) -> String {
    let data = data.to_string().replace('<', "\\u003c");
    let hash = |open: &str, close: &str| {
        let from = template.find(open).expect("a block") + open.len();
        let to = from + template[from..].find(close).expect("the end of a block");
        let digest = Sha256::of(&template.as_bytes()[from..to]).to_string();
        let bytes: Vec<u8> = digest
            .trim_start_matches("sha256:")
            .as_bytes()
            .chunks(2)
            .map(|pair| {
                u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex")
            })
            .collect();
        format!("'sha256-{}'", base64::engine::general_purpose::STANDARD.encode(bytes))
    };
    let (style, script) = (hash("<style>", "</style>"), hash("<script>", "</script>"));
    template.replace("STYLE-HASH", &style).replace("SCRIPT-HASH", &script).replacen(
        "PAGE-DATA",
        &data,
        1,
    )
}
