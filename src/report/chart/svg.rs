//! One picture, without scripts and fonts of its own. It brings its background: pages may be dark.

use std::fmt::Write as _;

use super::{Chart, Column, MARK, Row, State, fit_words, listed};
use crate::report::matrix_line;
use crate::report::xml::escaped;
use crate::resolve::physics::DriverFit;

const MARGIN: usize = 20;
/// Least width between the margins: that of the longest line.
const WIDTH: usize = 1080;
/// Width of the heads of rows.
const HEAD: usize = 100;
/// Width of a cell: `525.60.13` beside a letter, in the widest of the fonts that will be found.
const CELL: usize = 92;
/// Height of a line of text, and of one in a cell.
const LINE: usize = 15;
const DENSE: usize = 14;
/// Height of a cell of the second table.
const LOW: usize = 21;

/// Every colour has a letter or a pattern beside it; the text on each has a contrast above 7.
const STYLE: &str = "\
text{font:12px 'Helvetica Neue',Helvetica,Arial,'Liberation Sans','DejaVu Sans',sans-serif;fill:#1b1f24}\
.t{font-size:21px;font-weight:700}.h{font-size:15px;font-weight:700}.b{font-weight:700}.s{fill:#4b535d}\
.m{text-anchor:middle}.e{text-anchor:end}.l{font-size:14px;font-weight:700}\
.n{fill:#d2e6f8}.p{fill:url(#gpuseal-hatch)}.o{fill:#f1f2f4}.u{fill:url(#gpuseal-dots)}";

const PATTERNS: &str = "\
<pattern id=\"gpuseal-hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<rect width=\"6\" height=\"6\" fill=\"#fff3d6\"/><rect width=\"2\" height=\"6\" fill=\"#f3cf86\"/></pattern>\
<pattern id=\"gpuseal-dots\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\">\
<rect width=\"6\" height=\"6\" fill=\"#f6eaf5\"/><circle cx=\"3\" cy=\"3\" r=\"1.2\" fill=\"#cda3c8\"/></pattern>";

/// The picture as it grows.
struct Canvas(String);

impl Canvas {
    fn text(&mut self, x: usize, y: usize, class: &str, text: &str) {
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        let _ = writeln!(self.0, "<text x=\"{x}\" y=\"{y}\"{class}>{}</text>", escaped(text));
    }

    /// A field with its reason; two points stay free between neighbours.
    fn field(&mut self, class: &str, at: (usize, usize), size: (usize, usize), why: &str) {
        let title =
            if why.is_empty() { String::new() } else { format!("<title>{}</title>", lines(why)) };
        let _ = writeln!(
            self.0,
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"3\">{title}</rect>",
            at.0 + 1,
            at.1 + 1,
            size.0 - 2,
            size.1 - 2
        );
    }
}

/// Escaped line by line.
fn lines(text: &str) -> String {
    text.lines().map(escaped).collect::<Vec<_>>().join("\n")
}

/// The chart as an SVG document.
pub fn svg(chart: &Chart<'_>) -> String {
    let width = (HEAD + CELL * chart.columns.len()).max(WIDTH) + 2 * MARGIN;
    let mut canvas = Canvas(String::new());
    let mut y = MARGIN + 20;
    canvas.text(MARGIN, y, "t", &chart.title());
    y += 22;
    canvas.text(
        MARGIN,
        y,
        "s",
        "In a cell: how it runs; the oldest driver; the CUDA builds that run from it on; after + those that want a newer one, after ? those nobody has read.",
    );
    y = heads(chart, &mut canvas, y + 12);
    let cells = chart.rows.iter().flat_map(|row| &row.cells);
    let tall = 24 + DENSE * cells.map(|cell| cell.lines().len()).max().unwrap_or(0).max(2);
    for row in &chart.rows {
        release(chart, row, &mut canvas, y, tall);
        y += tall;
    }
    y += 20;
    for state in State::ALL {
        let x = MARGIN
            + (width - 2 * MARGIN) / 2
                * (State::ALL.iter().position(|s| *s == state).unwrap_or(0) % 2);
        canvas.field(state.class(), (x, y - 14), (30, 20), "");
        canvas.text(x + 15, y, "b m", state.letter());
        canvas.text(x + 38, y, "", state.meaning());
        if matches!(state, State::Ptx | State::Unknown) {
            y += 24;
        }
    }
    y = drivers(chart, &mut canvas, y + 12, width);
    for line in notes(chart) {
        canvas.text(MARGIN, y, "s", &line);
        y += LINE + 1;
    }
    let height = y + MARGIN - LINE;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"gpuseal-title gpuseal-desc\">\n\
         <title id=\"gpuseal-title\">{}</title>\n<desc id=\"gpuseal-desc\">{}</desc>\n\
         <style>{STYLE}</style>\n<defs>{PATTERNS}</defs>\n\
         <rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"10\" fill=\"#fff\" stroke=\"#d0d7de\"/>\n{}</svg>\n",
        escaped(&chart.title()),
        escaped(&chart.description()),
        width - 1,
        height - 1,
        canvas.0
    )
}

/// Generation, capabilities, cards, and the end of its drivers.
fn heads(chart: &Chart<'_>, canvas: &mut Canvas, top: usize) -> usize {
    let names = |column: &Column<'_>| {
        let name = column.generation.name.replace('/', "/ ");
        textwrap::wrap(&name, 11).into_iter().map(String::from).collect::<Vec<_>>()
    };
    let most = chart.columns.iter().map(|c| names(c).len()).max().unwrap_or(1);
    let label = top + LINE * (most + 1);
    canvas.text(MARGIN, label, "s", "capability");
    canvas.text(MARGIN, label + LINE, "s", "such as");
    canvas.text(MARGIN, label + 3 * LINE, "s", "last driver");
    for (column, i) in chart.columns.iter().zip(0..) {
        let middle = MARGIN + HEAD + CELL * i + CELL / 2;
        let names = names(column);
        for (name, n) in names.iter().zip(0..) {
            canvas.text(middle, label - LINE * (names.len() - n), "b m", name);
        }
        canvas.text(middle, label, "m", &listed(&column.capabilities));
        for (card, n) in column.cards.iter().zip(1..) {
            canvas.text(middle, label + LINE * n, "s m", card);
        }
        let last = column.generation.last_branch;
        canvas.text(
            middle,
            label + 3 * LINE,
            "m",
            &last.map_or("none yet".into(), |b| b.to_string()),
        );
    }
    label + 4 * LINE
}

/// A row: the release with its builds, and its cells.
fn release(chart: &Chart<'_>, row: &Row<'_>, canvas: &mut Canvas, y: usize, tall: usize) {
    canvas.text(MARGIN, y + 18, "l", &row.release.version.to_string());
    let builds: Vec<String> = row
        .builds
        .iter()
        .map(|variant| format!("{}{}", variant.name, if variant.official { "" } else { "*" }))
        .collect();
    for (pair, n) in builds.chunks(2).zip(1..) {
        canvas.text(MARGIN, y + 18 + DENSE * n, "s", &pair.join(" "));
    }
    for (cell, i) in row.cells.iter().zip(0..) {
        let x = MARGIN + HEAD + CELL * i;
        let state = cell.state();
        let (told, why) = chart.told(row, i);
        let _ = writeln!(canvas.0, "<g>");
        canvas.field(state.class(), (x, y), (CELL, tall), &format!("{told}\n{why}"));
        match cell.floor() {
            None => {
                let class = if state == State::No { "l m s" } else { "l m" };
                canvas.text(x + CELL / 2, y + tall / 2 + 5, class, state.letter());
            }
            Some(floor) => {
                canvas.text(x + 5, y + 18, "l", state.letter());
                canvas.text(x + CELL - 5, y + 18, "b e", &floor.to_string());
                for (line, n) in cell.lines().iter().zip(1..) {
                    canvas.text(x + CELL - 5, y + 18 + DENSE * n, "e", line);
                }
            }
        }
        let _ = writeln!(canvas.0, "</g>");
    }
}

/// From a driver branch to the CUDA that it starts.
fn drivers(chart: &Chart<'_>, canvas: &mut Canvas, top: usize, width: usize) -> usize {
    let cell = (width - 2 * MARGIN - HEAD) / chart.reaches.len().max(20);
    let mut y = top + 18;
    canvas.text(MARGIN, y, "h", "Which CUDA builds a driver branch starts");
    let mut x = width - MARGIN;
    for (fit, wide) in
        [(DriverFit::TooOld, 80), (DriverFit::MinorCompat, 330), (DriverFit::Native, 200)]
    {
        x -= wide;
        let (letter, class, meaning) = fit_words(fit);
        canvas.field(class, (x, y - 14), (24, 20), "");
        canvas.text(x + 12, y, "b m", letter);
        canvas.text(x + 30, y, "", if fit == DriverFit::TooOld { "too old" } else { meaning });
    }
    y += 26;
    for (label, n) in ["driver branch", "its own CUDA", "M up to CUDA"].into_iter().zip(0..) {
        canvas.text(MARGIN, y + 16 * n, "s", label);
    }
    for (reach, i) in chart.reaches.iter().zip(0..) {
        let middle = MARGIN + HEAD + cell * i + cell / 2;
        let newest = reach.newest.unwrap_or(reach.branch.cuda);
        canvas.text(middle, y, "b m", &reach.branch.branch.to_string());
        canvas.text(middle, y + 16, "m", &reach.branch.cuda.to_string());
        canvas.text(middle, y + 32, "m", &newest.to_string());
    }
    y += 40;
    for (cuda, row) in chart.cudas.iter().zip(0..) {
        canvas.text(MARGIN, y + 15, "b", &format!("cu{}{}", cuda.major, cuda.minor));
        for (reach, i) in chart.reaches.iter().zip(0..) {
            let (fit, why) = &reach.fits[row];
            let (letter, class, _) = fit_words(*fit);
            let x = MARGIN + HEAD + cell * i;
            let told = format!("driver branch {}, CUDA {cuda}: {why}", reach.branch.branch);
            let _ = writeln!(canvas.0, "<g>");
            canvas.field(class, (x, y), (cell, LOW), &told);
            canvas.text(x + cell / 2, y + 15, "m", letter);
            let _ = writeln!(canvas.0, "</g>");
        }
        y += LOW;
    }
    y + 24
}

/// What the picture cannot show, and where it comes from.
fn notes(chart: &Chart<'_>) -> Vec<String> {
    vec![
        "Floors are those of the generation: a card that came out later needs the first driver that lists it. `gpuseal check --torch 2.9.1+cu128 --gpu l40s --driver 550` knows each.".into(),
        "* built, but not in the announced list. Cards that no release here serves, and Jetson modules, whose drivers come with JetPack, are left out.".into(),
        format!("{}; drawn by `{MARK}`; opened by itself, each field shows its reason and source under the pointer.", matrix_line(chart.matrix)),
    ]
}
