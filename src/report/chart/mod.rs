//! The chart of torch, GPU and driver: every cell is an answer of `judge`, and there is no second table.
//!
//! This file asks and gathers; `svg` and `html` draw. Same matrix, same bytes.

mod html;
mod svg;

use std::cmp::Reverse;
use std::fmt::Write as _;

pub use html::html;
pub use svg::svg;

use super::human;
use crate::domain::{
    Code, ComputeCapability, CudaVersion, DriverSpec, DriverVersion, GpuKind, Order as _, Platform,
    TorchVersion, WheelVariant,
};
use crate::matrix::{Branch, Generation, Matrix, Release, Variant};
use crate::requirements::TorchWish;
use crate::resolve::case::{Case, Driver};
use crate::resolve::judge;
use crate::resolve::physics::{self, DriverFit};

/// Stands in every chart.
pub const MARK: &str = "gpuseal matrix chart";

/// Lines of releases (2.15, 2.14 ...) that a picture has room for, unless others are asked for.
const LINES: usize = 12;

/// How builds serve a GPU. The order is that of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// By machine code.
    Native,
    /// By PTX alone.
    Ptx,
    /// Nobody knows.
    Unknown,
    /// Not at all.
    No,
}

impl State {
    /// All, in the order of the legend.
    pub const ALL: [Self; 4] = [Self::Native, Self::Ptx, Self::No, Self::Unknown];

    /// What stands in the cell.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Native => "N",
            Self::Ptx => "P",
            Self::Unknown => "?",
            Self::No => "\u{2013}",
        }
    }

    /// What it means.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Native => {
                "runs: machine code of this capability, or of an older one of its major"
            }
            Self::Ptx => "runs by PTX alone, compiled by the driver at the first start",
            Self::Unknown => "unknown: nobody has read that file",
            Self::No => {
                "does not run: torch or its cuDNN has no code for it, or no driver serves both"
            }
        }
    }

    /// Style and colour.
    const fn class(self) -> &'static str {
        match self {
            Self::Native => "n",
            Self::Ptx => "p",
            Self::Unknown => "u",
            Self::No => "o",
        }
    }
}

/// What one build comes to on the cards of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The build.
    pub variant: WheelVariant,
    /// How it serves them.
    pub state: State,
    /// Oldest driver that runs it there.
    pub min: Option<DriverVersion>,
}

/// A release on the cards of a column.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Each build, by CUDA.
    pub answers: Vec<Answer>,
    /// Why, a line for each build and capability.
    pub why: Vec<String>,
}

impl Cell {
    /// The best that one of the builds offers.
    pub fn state(&self) -> State {
        self.answers.iter().map(|answer| answer.state).min().unwrap_or(State::No)
    }

    /// Oldest driver that runs one of the builds in this state.
    pub fn floor(&self) -> Option<DriverVersion> {
        let state = self.state();
        let runs = matches!(state, State::Native | State::Ptx);
        self.answers.iter().filter(|a| runs && a.state == state).filter_map(|a| a.min).min()
    }

    /// The builds that run from this driver on, those that want a newer one, and those of which nobody
    /// knows beside them.
    pub fn builds(&self) -> [Vec<WheelVariant>; 3] {
        let (state, floor) = (self.state(), self.floor());
        let mut lists = [const { Vec::new() }; 3];
        for answer in self.answers.iter().filter(|_| floor.is_some()) {
            match answer.state {
                other if other == state => {
                    lists[usize::from(answer.min != floor)].push(answer.variant);
                }
                State::Unknown => lists[2].push(answer.variant),
                _ => (),
            }
        }
        lists
    }

    /// The lines below the driver.
    fn lines(&self) -> Vec<String> {
        let [lowest, newer, unknown] = self.builds();
        [("", lowest), ("+ ", newer), ("? ", unknown)]
            .into_iter()
            .filter(|(_, builds)| !builds.is_empty())
            .map(|(mark, builds)| format!("{mark}{}", brief(&builds)))
            .collect()
    }
}

/// Cards that get the same answers everywhere: a generation, or a part of one.
#[derive(Debug)]
pub struct Column<'m> {
    /// Its row of the matrix.
    pub generation: &'m Generation,
    /// The capabilities of it.
    pub capabilities: Vec<ComputeCapability>,
    /// One or two cards of them.
    pub cards: Vec<String>,
}

/// A release.
#[derive(Debug)]
pub struct Row<'m> {
    /// Its row of the matrix.
    pub release: &'m Release,
    /// Its CUDA builds for the platform, by CUDA.
    pub builds: Vec<&'m Variant>,
    /// One for each column.
    pub cells: Vec<Cell>,
}

/// A driver branch and the CUDA that it runs.
#[derive(Debug)]
pub struct Reach<'m> {
    /// Its row of the matrix.
    pub branch: &'m Branch,
    /// Newest CUDA of which machine code runs by minor-version compatibility.
    pub newest: Option<CudaVersion>,
    /// For each CUDA of the chart: how its builds start.
    pub fits: Vec<(DriverFit, String)>,
}

/// What is drawn.
#[derive(Debug)]
pub struct Chart<'m> {
    /// Where it comes from.
    pub matrix: &'m Matrix,
    /// For which platform.
    pub platform: Platform,
    /// GPUs, by capability.
    pub columns: Vec<Column<'m>>,
    /// Releases, newest first.
    pub rows: Vec<Row<'m>>,
    /// CUDA of all builds, newest first.
    pub cudas: Vec<CudaVersion>,
    /// Driver branches, oldest first.
    pub reaches: Vec<Reach<'m>>,
}

impl<'m> Chart<'m> {
    /// Judges the releases that `wish` admits, every one without it; `brief` leaves the newest of the
    /// last lines.
    pub fn new(
        matrix: &'m Matrix,
        platform: Platform,
        wish: Option<&TorchWish>,
        brief: bool,
    ) -> Self {
        let admits = |release: &&Release| {
            wish.is_none_or(|w| w.versions.contains(&release.version.pep440()))
        };
        let wanted = |variant: &&Variant| {
            let named = wish.and_then(|w| w.variant).is_none_or(|name| name == variant.name);
            named && variant.cuda.is_some() && variant.build(platform).is_some()
        };
        let mut rows: Vec<Row<'m>> = Vec::new();
        for release in matrix.releases.iter().rev().filter(admits) {
            let mut builds: Vec<_> = release.variants.iter().filter(wanted).collect();
            builds.order_by_key(|variant| variant.cuda);
            let line = release.version.line();
            let told = brief && rows.last().is_some_and(|r| r.release.version.line() == line);
            if !builds.is_empty() && !told {
                rows.push(Row { release, builds, cells: Vec::new() });
            }
        }
        if brief {
            rows.truncate(LINES);
        }
        let columns = columns(matrix, platform, &mut rows);
        let mut cudas: Vec<_> =
            rows.iter().flat_map(|row| row.builds.iter().filter_map(|v| v.cuda)).collect();
        cudas.order_by_key(|cuda| Reverse(*cuda));
        cudas.dedup();
        let reaches = reaches(matrix, platform, &cudas);
        Self { matrix, platform, columns, rows, cudas, reaches }
    }

    /// Heading.
    fn title(&self) -> String {
        format!("Which torch runs on which GPU, from which driver on: {}", self.platform)
    }

    /// A cell in words: the answer, then each build with its row of the matrix.
    fn told(&self, row: &Row<'_>, at: usize) -> (String, String) {
        let (cell, column) = (&row.cells[at], &self.columns[at]);
        let [lowest, newer, unknown] = cell.builds();
        let mut text = format!(
            "torch {} on {} ({}): {}",
            row.release.version,
            column.generation.name,
            listed(&column.capabilities),
            cell.state().meaning()
        );
        if let Some(floor) = cell.floor() {
            let _ = write!(text, "; from driver {floor} on with {}", listed(&lowest));
        }
        if !newer.is_empty() {
            let _ = write!(text, "; with a newer driver {} too", listed(&newer));
        }
        if !unknown.is_empty() {
            let _ = write!(text, "; unknown for {}", listed(&unknown));
        }
        (text, cell.why.join("\n"))
    }

    /// What the heading leaves open.
    fn description(&self) -> String {
        let ends =
            |row: Option<&Row<'_>>| row.map_or(String::new(), |r| r.release.version.to_string());
        format!(
            "torch {} to {} on {} generations of NVIDIA GPUs: how the CUDA builds serve each, and the oldest driver that runs one; then which driver branch starts builds of which CUDA.",
            ends(self.rows.last()),
            ends(self.rows.first()),
            self.columns.len()
        )
    }
}

/// Judges every release on every capability; capabilities of a generation with the same answers share
/// a column, and one that nothing serves has none.
fn columns<'m>(matrix: &'m Matrix, platform: Platform, rows: &mut [Row<'m>]) -> Vec<Column<'m>> {
    let mut columns: Vec<Column<'m>> = Vec::new();
    for generation in &matrix.generations {
        let first = columns.len();
        for &capability in &generation.capabilities {
            // The drivers of Jetson modules come with JetPack, and a Grace chip is in no x86-64 machine.
            let met = matrix.gpus.iter().any(|gpu| {
                gpu.capability == capability
                    && gpu.kind != GpuKind::Jetson
                    && gpu.host.is_none_or(|host| host == platform)
            });
            if !met {
                continue;
            }
            let cells: Vec<Cell> =
                rows.iter().map(|row| cell(matrix, platform, row, capability)).collect();
            if cells.iter().all(|cell| cell.state() == State::No) {
                continue;
            }
            let same = |row: &Row<'_>, cell: &Cell| {
                row.cells.last().map(|c| &c.answers) == Some(&cell.answers)
            };
            let shared =
                columns.len() > first && rows.iter().zip(&cells).all(|(row, cell)| same(row, cell));
            if !shared {
                columns.push(Column { generation, capabilities: Vec::new(), cards: Vec::new() });
            }
            if let Some(column) = columns.last_mut() {
                column.capabilities.push(capability);
            }
            for (row, cell) in rows.iter_mut().zip(cells) {
                match row.cells.last_mut() {
                    Some(last) if shared => last.why.extend(cell.why),
                    _ => row.cells.push(cell),
                }
            }
        }
    }
    for column in &mut columns {
        column.cards = cards(matrix, platform, &column.capabilities);
    }
    columns
}

/// What `check` says of each build of a release on a card of this capability.
fn cell(matrix: &Matrix, platform: Platform, row: &Row<'_>, capability: ComputeCapability) -> Cell {
    let mut cell = Cell { answers: Vec::new(), why: Vec::new() };
    for variant in &row.builds {
        let torch =
            TorchVersion { version: row.release.version.pep440(), variant: Some(variant.name) };
        let case = Case {
            torch: Some(torch),
            gpus: matrix.gpu(&capability.to_string()).into_iter().collect(),
            platform: Some(platform),
            ..Case::default()
        };
        let judgement = judge(&case, matrix);
        let bounds = &judgement.driver;
        let mut why = format!("{} on {capability}: ", variant.name);
        let state = match (judgement.verdict, bounds.min, bounds.max_branch) {
            (Code::Ok | Code::OkViaPtxJit, Some(min), Some(last)) if min.branch > last => {
                let _ = write!(
                    why,
                    "it needs driver {min}, and branch {last} is the last that drives the card"
                );
                State::No
            }
            (verdict @ (Code::Ok | Code::OkViaPtxJit), min, _) => {
                let served = judgement.gpus.first().and_then(|gpu| gpu.served);
                why.push_str(&served.map_or_else(String::new, human::served));
                if let Some(min) = min {
                    let _ = write!(why, "; driver {min} or newer");
                }
                if verdict == Code::Ok { State::Native } else { State::Ptx }
            }
            (verdict, _, _) => {
                if let Some(finding) = judgement.findings.first() {
                    why.push_str(&finding.message);
                    for fact in finding.facts.iter().take(1) {
                        let _ = write!(why, "; {}", fact.text);
                    }
                }
                if verdict == Code::Unknown { State::Unknown } else { State::No }
            }
        };
        let runs = matches!(state, State::Native | State::Ptx);
        let source = variant.build(platform).map(|b| matrix.cite_best(&b.evidence));
        let _ = write!(
            why,
            " [torch/{}+{}, {}]",
            row.release.version,
            variant.name,
            source.unwrap_or_default()
        );
        cell.why.push(why);
        cell.answers.push(Answer {
            variant: variant.name,
            state,
            min: bounds.min.filter(|_| runs),
        });
    }
    cell
}

/// The card that most clouds rent out, and the fastest GeForce; without one the next of the clouds.
fn cards(matrix: &Matrix, platform: Platform, of: &[ComputeCapability]) -> Vec<String> {
    let mut known: Vec<_> = matrix
        .gpus
        .iter()
        .filter(|gpu| of.contains(&gpu.capability) && gpu.host.is_none_or(|h| h == platform))
        .filter(|gpu| !matches!(gpu.kind, GpuKind::Jetson | GpuKind::Family))
        .collect();
    known.order_by_key(|gpu| Reverse(gpu.cloud.len()));
    let fastest = known
        .iter()
        .filter(|gpu| gpu.kind == GpuKind::Geforce && gpu.bandwidth_gb_s.is_some())
        .max_by(|a, b| {
            a.bandwidth_gb_s
                .partial_cmp(&b.bandwidth_gb_s)
                .unwrap_or(std::cmp::Ordering::Equal)
                .then(b.id.len().cmp(&a.id.len()))
        });
    let rented = known.iter().filter(|gpu| gpu.kind != GpuKind::Geforce);
    let mut names: Vec<String> = Vec::new();
    for gpu in rented.clone().take(1).chain(fastest).chain(rented).chain(&known) {
        let name = short(&gpu.id);
        if names.len() < 2 && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// `A100` of `A100-SXM4-80GB`, `RTX PRO 6000` of `RTX-PRO-6000-Blackwell-Server`; no wider than a column.
fn short(id: &str) -> String {
    let mut words = Vec::new();
    for word in id.split(" (").next().unwrap_or_default().split('-') {
        words.push(word);
        if word.contains(|c: char| c.is_ascii_digit()) {
            break;
        }
    }
    words.join(" ").chars().take(12).collect()
}

/// Every branch from the first that starts a build of the chart.
fn reaches<'m>(matrix: &'m Matrix, platform: Platform, cudas: &[CudaVersion]) -> Vec<Reach<'m>> {
    let reach = |branch: &'m Branch| {
        // As `--driver 570` is read: the first release of the branch.
        let spec = DriverSpec::Oldest(DriverVersion::of_branch(branch.branch));
        let driver = Driver::place(spec, matrix).ok().and_then(|d| d.oldest)?;
        let fit = |cuda: CudaVersion| {
            let floor = matrix.minor_floor(cuda, platform);
            let own = branch.cuda;
            match (physics::driver_fit(matrix, cuda, driver, platform), floor) {
                (DriverFit::TooOld, Some(floor))
                    if matrix.locate(floor).is_some_and(|at| at.branch.branch == branch.branch) =>
                {
                    let text = format!(
                        "machine code runs from {floor} on, a later release of the branch; PTX does not"
                    );
                    (DriverFit::MinorCompat, text)
                }
                (DriverFit::TooOld, Some(floor)) => {
                    let text =
                        format!("too old: CUDA {}.x starts from driver {floor} on", cuda.major);
                    (DriverFit::TooOld, text)
                }
                (DriverFit::Native, _) => {
                    (DriverFit::Native, format!("implements CUDA {own}: everything runs, PTX too"))
                }
                (DriverFit::MinorCompat, _) => (
                    DriverFit::MinorCompat,
                    format!(
                        "implements CUDA {own}: machine code runs by minor-version compatibility, PTX does not"
                    ),
                ),
                (fit, _) => (fit, fit_words(fit).2.to_owned()),
            }
        };
        let series = matrix.compilers.iter().map(|compiler| compiler.cuda);
        let newest = series.filter(|&cuda| fit(cuda).0 == DriverFit::MinorCompat).max();
        let fits = cudas.iter().map(|&cuda| fit(cuda));
        Some(Reach { branch, newest, fits: fits.collect() })
    };
    let starts = |reach: &Reach<'_>| reach.fits.iter().any(|(fit, _)| *fit != DriverFit::TooOld);
    matrix.branches.iter().filter_map(reach).skip_while(|reach| !starts(reach)).collect()
}

/// How a driver stands to a CUDA: letter, style and meaning.
const fn fit_words(fit: DriverFit) -> (&'static str, &'static str, &'static str) {
    match fit {
        DriverFit::Native => ("F", "n", "full: machine code and PTX"),
        DriverFit::MinorCompat => ("M", "p", "machine code only: minor-version compatibility"),
        DriverFit::TooOld => ("\u{2013}", "o", "the driver is too old"),
        DriverFit::Unknown => ("?", "u", "unknown"),
    }
}

/// `cu126 128`, and the ends alone of more than two.
fn brief(builds: &[WheelVariant]) -> String {
    let bare = |variant: &WheelVariant| variant.to_string().trim_start_matches("cu").to_owned();
    match builds {
        [] => String::new(),
        [one] => one.to_string(),
        [one, two] => format!("{one} {}", bare(two)),
        [one, .., last] => format!("{one}\u{2013}{}", bare(last)),
    }
}

/// Names in a row: `cu126, cu128`.
fn listed(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
