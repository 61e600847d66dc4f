//! The chart of torch, GPU and driver: what it says is what `check` says, and anybody can read it. After a
//! change of the matrix: `UPDATE_DOCS=1 cargo test --test chart`.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use gpuseal::domain::{Code, DriverSpec, DriverVersion, Platform, TorchVersion};
use gpuseal::matrix::Matrix;
use gpuseal::report::chart::{self, Cell, Chart, State};
use gpuseal::resolve::case::{Case, Driver};
use gpuseal::resolve::physics::DriverFit;
use gpuseal::resolve::{DriverMode, Judgement, judge};
use support::{folder, root, run};

static MATRIX: LazyLock<Matrix> = LazyLock::new(Matrix::embedded);

const PLATFORMS: [Platform; 3] =
    [Platform::LinuxAmd64, Platform::LinuxArm64, Platform::WindowsAmd64];

/// A picture of a README stays below.
const MOST_BYTES: usize = 300_000;

#[test]
fn docs_show_the_chart() {
    for (name, form) in [("docs/chart.svg", "svg"), ("docs/chart.html", "html")] {
        let args = ["matrix", "chart", "--as", form];
        let drawn = run(root(), &args);
        drawn.says(0, &[]);
        assert_eq!(drawn.stdout, run(root(), &args).stdout, "two drawings differ");
        let path = root().join(name);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs_err::write(&path, &drawn.stdout).expect("a file");
        }
        let stands = fs_err::read_to_string(&path).expect("a chart");
        // A checkout on Windows may have other line ends.
        assert!(
            stands.replace("\r\n", "\n") == drawn.stdout,
            "{name} is old: `UPDATE_DOCS=1 cargo test --test chart` writes it"
        );
    }
}

const fn runs(judgement: &Judgement<'_>) -> bool {
    matches!(judgement.verdict, Code::Ok | Code::OkViaPtxJit)
}

/// Drivers of the table, ascending.
fn drivers() -> Vec<DriverVersion> {
    let texts = MATRIX.branches.iter().flat_map(|b| {
        b.first_data_center.map(|d| d.to_string()).into_iter().chain(b.latest.clone())
    });
    let mut drivers: Vec<DriverVersion> = texts.filter_map(|text| text.parse().ok()).collect();
    drivers.sort();
    drivers
}

fn case(torch: &str, gpu: Option<&str>, driver: Option<DriverVersion>, platform: Platform) -> Case {
    let driver = driver.map(|d| Driver::place(DriverSpec::Oldest(d), &MATRIX).expect("a driver"));
    Case {
        torch: Some(torch.parse::<TorchVersion>().expect("a version")),
        gpus: gpu.map(|gpu| MATRIX.gpu(gpu).expect("a GPU")).into_iter().collect(),
        driver,
        platform: Some(platform),
        ..Case::default()
    }
}

/// Each answer of each cell: torch, capability, the answer.
fn answers(chart: &Chart<'_>) -> Vec<(String, String, chart::Answer)> {
    let mut all = Vec::new();
    for row in &chart.rows {
        assert_eq!(row.cells.len(), chart.columns.len());
        for (cell, column) in row.cells.iter().zip(&chart.columns) {
            assert_eq!(cell.answers.len(), row.builds.len());
            assert_eq!(cell.why.len(), row.builds.len() * column.capabilities.len());
            for answer in &cell.answers {
                for capability in &column.capabilities {
                    let torch = format!("{}+{}", row.release.version, answer.variant);
                    all.push((torch, capability.to_string(), answer.clone()));
                }
            }
        }
    }
    all
}

/// The floor is one: there it runs, on the next older driver of the table it does not.
#[test]
fn floors_hold_and_are_the_lowest() {
    let drivers = drivers();
    let mut seen = 0;
    for (torch, gpu, answer) in answers(&Chart::new(&MATRIX, Platform::LinuxAmd64, None, false)) {
        let ask = |driver| judge(&case(&torch, Some(&gpu), driver, Platform::LinuxAmd64), &MATRIX);
        let Some(min) = answer.min else {
            let same = match ask(None).verdict {
                Code::Unknown => State::Unknown,
                _ => State::No,
            };
            assert_eq!(answer.state, same, "{torch} on {gpu}");
            continue;
        };
        let at = ask(Some(min));
        assert!(runs(&at), "{torch} on {gpu} with {min}: {:?}", at.findings);
        assert_eq!(answer.state == State::Ptx, at.verdict == Code::OkViaPtxJit);
        // A branch is taken to know a generation or not; a floor of CUDA may lie within one.
        let inside = MATRIX.minor_compat.iter().any(|row| row.linux == Some(min));
        let older = |d: &&DriverVersion| **d < min && (inside || d.branch < min.branch);
        let below = drivers.iter().rev().find(older).expect("an older driver");
        let below = ask(Some(*below));
        assert!(!runs(&below), "{torch} on {gpu} needs {min}, and runs on {:?}", below.driver);
        seen += 1;
    }
    assert!(seen > 500, "only {seen} floors");
}

/// A sample of cells asked of the program: the same numbers every time, spread over all platforms.
#[test]
fn cells_say_what_the_program_says() {
    let mut seen = BTreeMap::new();
    for platform in PLATFORMS {
        let all = answers(&Chart::new(&MATRIX, platform, None, true));
        // A step that shares no factor with the length comes by everywhere.
        let step = (all.len() / 14).max(1) | 1;
        for (torch, gpu, answer) in all.iter().skip(3).step_by(step) {
            let name = platform.to_string();
            let args =
                ["check", "--torch", torch, "--gpu", gpu, "--platform", &name, "--format", "json"];
            let told: serde_json::Value =
                serde_json::from_str(&run(root(), &args).stdout).expect("one JSON document");
            let said = format!("{torch} on {gpu}, {name}: {answer:?}, {told:#}");
            let state = match told["verdict"].as_str().expect("a verdict") {
                "ok" => State::Native,
                "ok-via-ptx-jit" => State::Ptx,
                "unknown" => State::Unknown,
                _ => State::No,
            };
            assert_eq!(answer.state, state, "{said}");
            if let Some(min) = answer.min {
                assert_eq!(told["driver"]["min"], min.to_string(), "{said}");
            }
            *seen.entry(state).or_insert(0) += 1;
        }
    }
    assert!(seen.len() >= 3 && seen.values().sum::<usize>() > 30, "{seen:?}");
}

#[test]
fn driver_branches_start_what_the_judge_says() {
    let chart = Chart::new(&MATRIX, Platform::LinuxAmd64, None, false);
    let mut seen = BTreeMap::new();
    for reach in &chart.reaches {
        for (cuda, (fit, why)) in chart.cudas.iter().zip(&reach.fits) {
            let row = chart.rows.iter().find(|r| r.builds.iter().any(|v| v.cuda == Some(*cuda)));
            let version = row.expect("a release").release.version;
            let torch = format!("{version}+cu{}{}", cuda.major, cuda.minor);
            let branch = reach.branch.branch;
            let ask = |driver| judge(&case(&torch, None, Some(driver), chart.platform), &MATRIX);
            let said = ask(DriverVersion::of_branch(branch));
            let mode = match said.driver.mode {
                Some(DriverMode::Native) => DriverFit::Native,
                Some(DriverMode::MinorCompat) => DriverFit::MinorCompat,
                Some(DriverMode::ForwardCompat) => panic!("nobody allowed that"),
                None => DriverFit::TooOld,
            };
            if mode == *fit {
                assert_eq!(said.verdict == Code::DriverTooOld, mode == DriverFit::TooOld);
            } else {
                // A later release of the branch does, and the reason names it.
                let later = why.split_whitespace().find_map(|word| word.parse().ok());
                let later: DriverVersion = later.expect("a driver");
                assert_eq!(later.branch, branch, "{why}");
                assert_eq!(ask(later).driver.mode, Some(DriverMode::MinorCompat), "{why}");
            }
            *seen.entry(format!("{fit:?}")).or_insert(0) += 1;
        }
    }
    assert!(seen.len() == 3 && seen.values().all(|n| *n > 20), "{seen:?}");
}

/// A cell shows the best state, its lowest driver and the builds of it.
#[test]
fn a_cell_adds_its_answers_up() {
    let answer = |variant: &str, state, min: Option<&str>| chart::Answer {
        variant: variant.parse().expect("a variant"),
        state,
        min: min.map(|min| min.parse().expect("a driver")),
    };
    let cell = |answers| Cell { answers, why: Vec::new() };
    let mixed = cell(vec![
        answer("cu118", State::Ptx, Some("450.80.02")),
        answer("cu126", State::Native, Some("525.60.13")),
        answer("cu128", State::Unknown, None),
        answer("cu130", State::Native, Some("580")),
    ]);
    assert_eq!(mixed.state(), State::Native);
    assert_eq!(mixed.floor(), Some("525.60.13".parse().expect("a driver")));
    assert_eq!(format!("{:?}", mixed.builds().map(|list| list.len())), "[1, 1, 1]");
    let unsure =
        cell(vec![answer("cu126", State::Unknown, None), answer("cu118", State::No, None)]);
    assert_eq!((unsure.state(), unsure.floor()), (State::Unknown, None));
    assert_eq!(cell(Vec::new()).state(), State::No);
}

/// An element, with the text directly in it.
#[derive(Debug, Default)]
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
    text: String,
    inside: Vec<usize>,
    within: usize,
}

/// Text with its references undone; anything that has to be one and is none is a fault.
fn plain(text: &str) -> String {
    let mut parts = text.split('&');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(';').expect("a reference ends");
        plain.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "#39" => '\'',
            "#10" => '\n',
            other => panic!("`&{other};`"),
        });
        plain.push_str(rest);
    }
    plain
}

/// Reads XML as strictly as a parser: every element is closed in its order, every attribute quoted and
/// there once, no bare `<` or `&`, no control character.
fn elements(text: &str) -> Vec<Element> {
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "a control character");
    let mut list: Vec<Element> = vec![Element::default()];
    let mut open = vec![0];
    let mut rest = text.strip_prefix("<!DOCTYPE html>").unwrap_or(text);
    while let Some((before, tail)) = rest.split_once('<') {
        let at = *open.last().expect("an element");
        list[at].text.push_str(&plain(before));
        let (tag, tail) = tail.split_once('>').expect("a tag ends");
        assert!(!tag.contains('<'), "`<{tag}`");
        rest = tail;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(list[at].name, name, "closed in another order");
            open.pop();
            continue;
        }
        let (tag, alone) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, mut left) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "`<{tag}>`");
        let mut element = Element { name: name.into(), within: at, ..Element::default() };
        while !left.trim().is_empty() {
            let (key, value) = left.split_once("=\"").expect("a quoted attribute");
            let (value, more) = value.split_once('"').expect("its end");
            assert!(key.trim().chars().all(|c| c.is_ascii_alphabetic() || c == '-'), "`{key}`");
            let twice = element.attributes.insert(key.trim().into(), plain(value));
            assert_eq!(twice, None, "`{key}` twice");
            left = more;
        }
        list.push(element);
        let new = list.len() - 1;
        list[at].inside.push(new);
        if !alone {
            open.push(new);
        }
    }
    assert_eq!(open, [0], "something stays open");
    assert_eq!(plain(rest).trim(), "", "text after the end");
    list
}

#[test]
fn the_reader_sees_what_is_wrong() {
    for bad in
        ["<a>", "<a><b></a></b>", "<a b=c></a>", "<a>&x</a>", "<a b=\"1\" b=\"2\"/>", "<a/>x"]
    {
        assert!(std::panic::catch_unwind(|| elements(bad)).is_err(), "{bad}");
    }
    assert_eq!(elements("<a b=\"&amp;\">x<c/></a>").len(), 3);
}

/// What holds for every document: well formed, alone in the world, ids there once and where they are named.
fn sound(text: &str) -> Vec<Element> {
    let list = elements(text);
    let mut ids = BTreeSet::new();
    for element in &list {
        assert!(!matches!(element.name.as_str(), "script" | "image" | "foreignObject" | "link"));
        for (key, value) in &element.attributes {
            assert!(!key.starts_with("on"), "{key}");
            assert!(key == "xmlns" || !value.contains("://"), "{key}={value}");
        }
        if let Some(id) = element.attributes.get("id") {
            assert!(ids.insert(id.as_str()), "the id {id} twice");
        }
    }
    let named = list.iter().flat_map(|element| {
        let labels = element.attributes.get("aria-labelledby").map(String::as_str);
        let link = element.attributes.get("href").map(|href| href.trim_start_matches('#'));
        labels.unwrap_or_default().split(' ').chain(link)
    });
    let styled = text.split("url(#").skip(1).filter_map(|rest| rest.split(')').next());
    for id in named.chain(styled).filter(|id| !id.is_empty()) {
        assert!(ids.contains(id), "no element has the id {id}");
    }
    assert!(!text.contains("@import") && !text.contains("@font-face"));
    list
}

fn drawn(platform: Platform, brief: bool) -> (String, String) {
    let chart = Chart::new(&MATRIX, platform, None, brief);
    (chart::svg(&chart), chart::html(&chart))
}

#[test]
fn documents_are_sound() {
    for platform in PLATFORMS {
        for brief in [true, false] {
            let (svg, html) = drawn(platform, brief);
            assert!(!brief || svg.len() < MOST_BYTES, "{} bytes", svg.len());
            let (svg, html) = (sound(&svg), sound(&html));
            assert_eq!(svg[1].attributes["role"], "img");
            assert_eq!(html[1].attributes["lang"], "en");
            let tables = html.iter().filter(|e| e.name == "table").count();
            assert_eq!((tables, html.iter().filter(|e| e.name == "caption").count()), (3, 3));
            for head in html.iter().filter(|e| e.name == "th") {
                assert!(["row", "col"].contains(&head.attributes["scope"].as_str()));
            }
        }
    }
}

/// Letter and pattern go together, and each cell says why.
#[test]
fn every_cell_has_letter_and_reason() {
    let (svg, html) = drawn(Platform::WindowsAmd64, true);
    let chart = Chart::new(&MATRIX, Platform::WindowsAmd64, None, true);
    let wanted = chart.rows.len() * chart.columns.len() + chart.cudas.len() * chart.reaches.len();
    let list = sound(&svg);
    let mut letters = BTreeSet::new();
    let groups: Vec<_> = list.iter().filter(|e| e.name == "g").collect();
    assert_eq!(groups.len(), wanted);
    for group in groups {
        let field = &list[group.inside[0]];
        let title = &list[field.inside[0]];
        assert_eq!((field.name.as_str(), title.name.as_str()), ("rect", "title"));
        let of_torch = title.text.starts_with("torch ");
        assert!(!of_torch || title.text.contains("\ncu") && title.text.contains("[torch/"));
        assert!(of_torch || title.text.starts_with("driver branch "), "{}", title.text);
        let letter = list[group.inside[1]].text.clone();
        letters.insert((of_torch, field.attributes["class"].clone(), letter));
    }
    let cells: Vec<_> = letters.iter().filter(|(of_torch, ..)| *of_torch).collect();
    let classes: BTreeSet<_> = cells.iter().map(|(_, class, _)| class).collect();
    let marks: BTreeSet<_> = cells.iter().map(|(.., letter)| letter).collect();
    assert_eq!((cells.len(), classes.len(), marks.len()), (cells.len(), cells.len(), cells.len()));
    assert!(cells.len() >= 3, "{letters:?}");

    let list = sound(&html);
    let mut read_out = 0;
    for cell in list.iter().filter(|e| e.name == "td" && e.attributes.contains_key("class")) {
        assert!(!cell.attributes["title"].is_empty());
        let parts: Vec<_> = cell.inside.iter().map(|&i| &list[i]).collect();
        assert_eq!(parts[0].attributes["aria-hidden"], "true");
        assert!(parts[1].text.len() > 6, "{}", parts[1].text);
        read_out += 1;
    }
    assert_eq!(read_out, wanted);
}

/// Text on its ground, by the formula of WCAG 2.
#[test]
fn text_has_contrast() {
    let (svg, html) = drawn(Platform::LinuxAmd64, true);
    let brightness = |colour: &str| {
        let part = |at: usize| {
            let value = u8::from_str_radix(&colour[at..at + 2], 16).expect("a colour");
            let value = f64::from(value) / 255.0;
            if value <= 0.03928 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4)
    };
    let colours = |text: &str| -> BTreeSet<String> {
        let long = |c: &str| (c.len() >= 6).then(|| c[..6].to_owned());
        let hex = |c: &String| c.chars().all(|c| c.is_ascii_hexdigit());
        text.split('#').skip(1).filter_map(long).filter(hex).collect()
    };
    for (text, inks) in [(&svg, vec!["1b1f24", "4b535d"]), (&html, vec!["1b1f24"])] {
        let style = text.split("</defs>").next().expect("a head").split("</style>");
        let style: String = style.take(2).collect();
        for ink in inks {
            assert!(style.contains(ink), "{ink}");
            // Light grounds: what text stands on, lines of patterns too.
            for ground in colours(&style).iter().filter(|c| brightness(c) > 0.3) {
                // The softer ink stands on no pattern.
                if ink == "4b535d" && ["cda3c8", "f3cf86"].contains(&ground.as_str()) {
                    continue;
                }
                let contrast = (brightness(ground) + 0.05) / (brightness(ink) + 0.05);
                assert!(contrast >= 4.5, "#{ink} on #{ground}: {contrast:.1}");
            }
        }
    }
}

/// Width in DejaVu Sans, the widest of the fonts that a reader may have.
fn width(text: &str, class: &str) -> f64 {
    let em: f64 = text
        .chars()
        .map(|c| match c {
            '0'..='9' | 'b' | 'd' | 'h' | 'n' | 'p' | 'q' | 'u' | 'k' => 0.64,
            'i' | 'j' | 'l' => 0.28,
            ' ' | '.' | ',' | '/' | ':' | ';' => 0.34,
            'f' | 'r' | 't' | '(' | ')' | '`' => 0.41,
            'A'..='Z' => 0.7,
            'm' | 'w' | '+' | '=' => 0.9,
            _ => 0.6,
        })
        .sum();
    let class: Vec<_> = class.split(' ').collect();
    let (size, bold) = match () {
        () if class.contains(&"t") => (21.0, 1.1),
        () if class.contains(&"h") => (15.0, 1.1),
        () if class.contains(&"l") => (14.0, 1.1),
        () if class.contains(&"b") => (12.0, 1.1),
        () => (12.0, 1.0),
    };
    em * size * bold
}

/// Where a text begins and ends.
fn span(text: &Element) -> (f64, f64) {
    let x: f64 = text.attributes["x"].parse().expect("a number");
    let class = text.attributes.get("class").map_or("", String::as_str);
    let wide = width(&text.text, class);
    match () {
        () if class.split(' ').any(|c| c == "m") => (x - wide / 2.0, x + wide / 2.0),
        () if class.split(' ').any(|c| c == "e") => (x - wide, x),
        () => (x, x + wide),
    }
}

#[test]
fn labels_stay_in_their_places() {
    let narrow = "2.6.0+cu126".parse().expect("a version");
    let mut charts = vec![Chart::new(&MATRIX, Platform::LinuxArm64, Some(&narrow), false)];
    for platform in PLATFORMS {
        charts.extend([true, false].map(|brief| Chart::new(&MATRIX, platform, None, brief)));
    }
    for chart in charts {
        let list = sound(&chart::svg(&chart));
        let number = |e: &Element, key: &str| e.attributes[key].parse::<f64>().expect("a number");
        let (wide, tall) = (number(&list[1], "width"), number(&list[1], "height"));
        // Texts of a line, from left to right.
        let mut by_line: BTreeMap<u64, Vec<(f64, f64, &str)>> = BTreeMap::new();
        for text in list.iter().filter(|e| e.name == "text") {
            let ((from, to), y) = (span(text), number(text, "y"));
            assert!(from >= 0.0 && to <= wide && y < tall, "`{}` is cut off", text.text);
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "0 to 2000"
            )]
            by_line.entry(y as u64).or_default().push((from, to, &text.text));
            let around = &list[text.within];
            if around.name == "g" {
                let field = &list[around.inside[0]];
                let (x, top) = (number(field, "x"), number(field, "y"));
                let right = x + number(field, "width");
                assert!(from >= x && to <= right, "`{}`: {from}-{to} in {x}-{right}", text.text);
                assert!(y - 9.0 >= top && y + 2.0 <= top + number(field, "height"), "{y}");
            }
        }
        for line in by_line.values_mut() {
            line.sort_by(|a, b| a.0.total_cmp(&b.0));
            for pair in line.windows(2) {
                assert!(pair[0].1 <= pair[1].0, "`{}` runs into `{}`", pair[0].2, pair[1].2);
            }
        }
    }
}

/// GitHub shows a README 900 points wide: letters of 9 points and more.
#[test]
fn the_picture_of_the_readme_is_legible() {
    let svg = fs_err::read_to_string(root().join("docs/chart.svg")).expect("a chart");
    let wide: f64 = elements(&svg)[1].attributes["width"].parse().expect("a number");
    assert!(12.0 * 900.0 / wide >= 9.0, "{wide} points wide");
}

/// What somebody lays over the matrix is text, whatever it looks like.
#[test]
fn names_of_overlays_are_text() {
    let overlay = r#"
sources:
  lab.list: {level: document, text: "<i>our list</i>"}
generations:
  - name: "<script>alert(\"&amp;\")</script>"
    capabilities: ["12.5"]
    first_branch: "520"
    source: [lab.list]
gpus:
  - id: "<b>'&\"&#x3c;&lt;"
    architecture: Hopper
    capability: "12.5"
    kind: datacenter
    names: ["Lab 1"]
    cloud: [a1.large, a2.large, a3.large, a4.large, a5.large, a6.large, a7.large, a8.large, a9.large]
    source: [lab.list]
"#;
    let name = if cfg!(windows) { "lab.yaml" } else { "<svg onload=x>&.yaml" };
    let place = folder(&[(name, overlay)]);
    for form in ["svg", "html"] {
        let drawn = run(place.path(), &["matrix", "chart", "--as", form, "--overlay", name]);
        drawn.says(0, &["&lt;b&gt;&#39;&amp;&quot;", "overlay "]);
        sound(&drawn.stdout);
        assert!(drawn.stdout.contains("alert"), "the generation has its name");
    }
}

#[test]
fn files_are_written_over_only_if_they_are_charts() {
    let place = folder(&[("mine.svg", "<svg/>"), ("empty.svg", "")]);
    let to = |file: &str| run(place.path(), &["matrix", "chart", "-o", file]);
    to("new.svg").says(0, &["wrote new.svg"]);
    to("new.svg").says(0, &["unchanged: new.svg"]);
    to("empty.svg").says(0, &["wrote empty.svg"]);
    to("mine.svg").says(2, &["would be lost", "name another file"]);
    assert_eq!(fs_err::read_to_string(place.path().join("mine.svg")).expect("a file"), "<svg/>");
    let docs = fs_err::read_to_string(root().join("docs/chart.svg")).expect("a chart");
    let new = fs_err::read_to_string(place.path().join("new.svg")).expect("a chart");
    assert_eq!(new, docs.replace("\r\n", "\n"));
}

#[test]
fn releases_and_platforms_are_chosen() {
    let chart = |args: &[&str]| run(root(), &[&["matrix", "chart"], args].concat());
    let few = chart(&["--torch", "2.9"]);
    few.says(0, &[">2.9.1<", ">2.9.0<"]);
    assert!(!few.stdout.contains(">2.8.0<"));
    let one = chart(&["--torch", "2.6.0+cu126", "--platform", "linux/arm64"]);
    one.says(0, &["linux/arm64", "cu126"]);
    assert!(!one.stdout.contains("cu124"));
    chart(&["--torch", "9.9"]).says(2, &["no CUDA build of torch 9.9", "the matrix knows torch"]);
    chart(&["--torch", "new"]).says(2, &["--torch", "`new`"]);
    chart(&["--platform", "macos/arm64"]).says(2, &["macos/arm64", "linux/amd64"]);
    chart(&["--platform", "beos"]).says(2, &["--platform"]);
}
