//! One page with everything as text: for readers who hear tables, search them, or print them.

use std::fmt::Write as _;

use super::{Chart, MARK, Row, State, fit_words, listed};
use crate::report::matrix_line;
use crate::report::xml::escaped;
use crate::resolve::judge;
use crate::resolve::physics::{self, DriverFit};

/// Letters and patterns carry what colours say.
const STYLE: &str = "\
:root{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--soft:#4b535d;--line:#d0d7de}\
@media(prefers-color-scheme:dark){:root{--page:#0d1117;--ink:#e6edf3;--soft:#aab4bf;--line:#3d444d}}\
body{margin:0 auto;padding:1.5rem;max-width:95rem;background:var(--page);color:var(--ink);font:15px/1.4 system-ui,sans-serif}\
.w{overflow-x:auto;border:1px solid var(--line);border-radius:8px;margin:1rem 0}\
table{border-collapse:separate;border-spacing:2px;font-size:.85rem}\
caption{text-align:left;padding:.5rem;color:var(--soft);max-width:60rem}\
th,td{padding:.2rem .4rem;text-align:left;vertical-align:top}\
thead th{vertical-align:bottom}tbody th{position:sticky;left:0;background:var(--page);white-space:nowrap}\
th small,td small{display:block;font-weight:400;color:var(--soft);white-space:nowrap}td small{color:inherit}.c{white-space:nowrap}\
td.n,td.p,td.o,td.u,li b{color:#1b1f24;border-radius:3px}\
.n{background:#d2e6f8}.o{background:#f1f2f4}\
.p{background:repeating-linear-gradient(45deg,#fff3d6 0 5px,#f3cf86 5px 7px)}\
.u{background:radial-gradient(#cda3c8 1.2px,#f6eaf5 1.4px) 0 0/6px 6px}\
li b{display:inline-block;min-width:1.6rem;text-align:center}\
.v{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}\
ul{list-style:none;padding:0}a{color:inherit}code{font-size:.95em}\
@media print{.w{overflow:visible}body{font-size:9px}*{print-color-adjust:exact}}";

/// The chart as a page.
pub fn html(chart: &Chart<'_>) -> String {
    let title = escaped(&chart.title());
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width\"/>\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>{title}</h1>\n<p>{}</p>\n<ul>\n",
        escaped(&chart.description())
    );
    for state in State::ALL {
        let _ = writeln!(
            page,
            "<li><b class=\"{}\">{}</b> {}</li>",
            state.class(),
            state.letter(),
            state.meaning()
        );
    }
    page.push_str("</ul>\n");
    cards(chart, &mut page);
    drivers(chart, &mut page);
    builds(chart, &mut page);
    let _ = writeln!(
        page,
        "<p>Floors are those of the generation: a card that came out later needs the first driver that lists it. \
         <code>gpuseal check --torch 2.9.1+cu128 --gpu l40s --driver 550</code> knows each. Generations that no release here serves, and \
         Jetson modules, whose drivers come with JetPack, are left out.</p>\n\
         <footer><p>{}; drawn by <code>{MARK}</code>.</p></footer>\n</body>\n</html>",
        escaped(&matrix_line(chart.matrix))
    );
    page
}

/// Release by generation.
fn cards(chart: &Chart<'_>, page: &mut String) {
    page.push_str(
        "<div class=\"w\" tabindex=\"0\" role=\"region\" aria-labelledby=\"cards\">\n<table>\n<caption id=\"cards\">In a cell: how it runs; the oldest driver; the CUDA builds \
         that run from this driver on; after + those that want a newer one, after ? those nobody has read. A release leads to its builds below.</caption>\n<thead>\n<tr><th scope=\"col\">torch</th>",
    );
    for column in &chart.columns {
        let name = escaped(&column.generation.name).replace('/', "/<wbr/>");
        let _ =
            write!(page, "<th scope=\"col\">{name}<small>{}</small>", listed(&column.capabilities));
        for card in &column.cards {
            let _ = write!(page, "<small>{}</small>", escaped(card));
        }
        if let Some(last) = column.generation.last_branch {
            let _ = write!(page, "<small>to driver {last}</small>");
        }
        page.push_str("</th>");
    }
    page.push_str("</tr>\n</thead>\n<tbody>\n");
    for row in &chart.rows {
        let version = row.release.version;
        let _ =
            write!(page, "<tr><th scope=\"row\"><a href=\"#torch-{version}\">{version}</a></th>");
        for i in 0..row.cells.len() {
            cell(chart, row, i, page);
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n</div>\n");
}

/// What is seen, and what is read out in its place.
fn cell(chart: &Chart<'_>, row: &Row<'_>, at: usize, page: &mut String) {
    let cell = &row.cells[at];
    let (told, why) = chart.told(row, at);
    let _ = write!(
        page,
        "<td class=\"{}\" title=\"{}\"><span class=\"c\" aria-hidden=\"true\"><strong>{}</strong>",
        cell.state().class(),
        why.lines().map(escaped).collect::<Vec<_>>().join("&#10;"),
        cell.state().letter()
    );
    if let Some(floor) = cell.floor() {
        let _ = write!(page, " {floor}");
        for line in cell.lines() {
            let _ = write!(page, "<small>{line}</small>");
        }
    }
    let _ = writeln!(page, "</span><span class=\"v\">{}</span></td>", escaped(&told));
}

/// Driver branch by CUDA.
fn drivers(chart: &Chart<'_>, page: &mut String) {
    page.push_str("<h2>Which CUDA builds a driver branch starts</h2>\n<ul>\n");
    for fit in [DriverFit::Native, DriverFit::MinorCompat, DriverFit::TooOld, DriverFit::Unknown] {
        let (letter, class, meaning) = fit_words(fit);
        let _ = writeln!(page, "<li><b class=\"{class}\">{letter}</b> {meaning}</li>");
    }
    page.push_str(
        "</ul>\n<div class=\"w\" tabindex=\"0\" role=\"region\" aria-labelledby=\"drivers\">\n<table>\n<caption id=\"drivers\">Read from your driver: its branch is the number before the first dot. \
         What a branch implements runs whole; what it starts beyond that runs machine code only.</caption>\n<thead>\n<tr><th scope=\"col\">branch</th>\
         <th scope=\"col\">its own CUDA</th><th scope=\"col\">machine code up to</th>",
    );
    for cuda in &chart.cudas {
        let _ = write!(
            page,
            "<th scope=\"col\"><abbr title=\"CUDA {cuda}\">cu{}{}</abbr></th>",
            cuda.major, cuda.minor
        );
    }
    page.push_str("</tr>\n</thead>\n<tbody>\n");
    for reach in chart.reaches.iter().rev() {
        let own = reach.branch.cuda;
        let _ = write!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{own}</td><td>{}</td>",
            reach.branch.branch,
            reach.newest.unwrap_or(own)
        );
        for (fit, why) in &reach.fits {
            let (letter, class, _) = fit_words(*fit);
            let why = escaped(why);
            let _ = write!(
                page,
                "<td class=\"{class}\" title=\"{why}\"><span aria-hidden=\"true\">{letter}</span><span class=\"v\">{why}</span></td>"
            );
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n</div>\n");
}

/// The reasons: what is in each build, who says so, and which drivers start it.
fn builds(chart: &Chart<'_>, page: &mut String) {
    page.push_str(
        "<h2>The builds</h2>\n<div class=\"w\" tabindex=\"0\" role=\"region\" aria-labelledby=\"builds\">\n<table>\n<caption id=\"builds\">Why: the code in each build. Machine code runs on its own capability and on later ones \
         of the same major, PTX on every later one. A build without a mark is in the announced list of its release.</caption>\n<thead>\n<tr><th scope=\"col\">build</th><th scope=\"col\">code</th>\
         <th scope=\"col\">starts from driver</th><th scope=\"col\">all of it from</th><th scope=\"col\">source</th></tr>\n</thead>\n<tbody>\n",
    );
    for row in &chart.rows {
        let mut id = format!(" id=\"torch-{}\"", row.release.version);
        for variant in &row.builds {
            let (Some(cuda), Some(build)) = (variant.cuda, variant.build(chart.platform)) else {
                continue;
            };
            let floor = |ptx| {
                physics::driver_floor(chart.matrix, cuda, chart.platform, ptx)
                    .map_or_else(|| "unknown".into(), |floor| floor.to_string())
            };
            let _ = writeln!(
                page,
                "<tr{id}><th scope=\"row\">{}+{}{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                row.release.version,
                variant.name,
                if variant.official { "" } else { " <small>not announced</small>" },
                escaped(&judge::code_text(&build.code)),
                floor(false),
                floor(true),
                escaped(&chart.matrix.cite_best(&build.evidence))
            );
            id.clear();
        }
    }
    page.push_str("</tbody>\n</table>\n</div>\n");
}
