//! Pictures of the terminal, drawn from what the program prints. After a change of what it prints:
//! `UPDATE_DOCS=1 cargo test --test pictures`.

mod support;

use anstyle_svg::Term;
use support::{finish, gpuseal, root};
use textwrap::core::display_width;

/// Columns of the terminal. 900 points, the width of a README, hold so many without being scaled.
const COLUMNS: usize = 100;

/// Names of pictures, and what is typed.
const PICTURES: [(&str, &str); 5] = [
    ("resolve", "resolve --project examples/mixed-fleet --target edge"),
    ("error", "check --torch 2.6.0+cu124 --gpu rtx5090 --driver 570.86.16"),
    ("doctor", "doctor --facts docs/broken/cpu-wheel.json"),
    ("diagnose", "diagnose docs/broken/blackwell.log"),
    ("verify", "verify --replay docs/broken/flipped-bit.json"),
];

const fn rgb(value: u32) -> anstyle::RgbColor {
    let [_, red, green, blue] = value.to_be_bytes();
    anstyle::RgbColor(red, green, blue)
}

const INK: anstyle::RgbColor = rgb(0x00d1_d7e0);
const GROUND: anstyle::RgbColor = rgb(0x0015_1b23);

/// Sixteen colours that can be read on the ground. VGA's red is too dark for that.
const PALETTE: anstyle_svg::Palette = {
    let plain =
        [0x65_6c76, 0xff_8078, 0x56_d364, 0xe3_b341, 0x79_c0ff, 0xd2_a8ff, 0x56_d4dd, 0xd1_d7e0];
    let mut colours = [INK; 16];
    let mut i = 0;
    while i < 16 {
        colours[i] = rgb(plain[i % 8]);
        i += 1;
    }
    anstyle_svg::Palette(colours)
};

/// What a terminal of this width shows: the program breaks its lines below where their text begins.
fn broken(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let plain = line.trim_start();
        let lead = line.len() - plain.len();
        let column = plain
            .find("  ")
            .filter(|at| *at < 9)
            .map(|at| at + plain[at..].len() - plain[at..].trim_start().len());
        let indent = " ".repeat(lead + column.unwrap_or(2));
        let options = textwrap::Options::new(COLUMNS)
            .subsequent_indent(&indent)
            .break_words(false)
            .word_splitter(textwrap::WordSplitter::NoHyphenation);
        if display_width(line) <= COLUMNS {
            out.push_str(line);
        } else {
            out.push_str(&textwrap::fill(line, options));
        }
        out.push('\n');
    }
    out
}

/// The program's answer in colour, on one picture.
fn picture(typed: &str) -> String {
    let mut command = gpuseal(root());
    command.env_remove("NO_COLOR").args(typed.split(' ')).args(["--color", "always"]);
    let run = finish(&mut command);
    assert!(run.code < 2, "{typed}: {}", run.all());
    assert!(run.stdout.contains('\u{1b}'), "no colour: {}", run.stdout);
    let answer = run.all();
    assert!(!answer.contains(&root().display().to_string()), "a path of this machine: {answer}");
    let text = broken(&format!("\u{1b}[1m$ gpuseal {typed}\u{1b}[0m\n{answer}"));
    let svg = Term::new()
        .palette(PALETTE)
        .fg_color(INK.into())
        .bg_color(GROUND.into())
        .render_svg(text.trim_end());
    let size = |key: &str| {
        svg.split(&format!("{key}=\""))
            .nth(1)
            .and_then(|rest| rest.split("px").next())
            .expect("a size")
    };
    let head = format!(
        "<svg role=\"img\" aria-label=\"gpuseal {typed}\" viewBox=\"0 0 {} {}\" ",
        size("width"),
        size("height")
    );
    // Sources are told dimmed, not hidden.
    assert!(!svg.contains("class=\"dimmed") || svg.contains("opacity: 0.4"), "{svg}");
    svg.replacen("<svg ", &head, 1).replace("opacity: 0.4", "opacity: 0.7")
}

#[test]
fn docs_show_what_the_program_prints() {
    for (name, typed) in PICTURES {
        let drawn = picture(typed);
        assert_eq!(drawn, picture(typed), "two pictures of `{typed}` differ");
        let wide = drawn.split("viewBox=\"0 0 ").nth(1).and_then(|rest| rest.split(' ').next());
        let wide: usize = wide.and_then(|wide| wide.parse().ok()).expect("a width");
        assert!(wide <= 900, "{name} is {wide} points wide");
        let path = root().join("docs/pictures").join(format!("{name}.svg"));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs_err::create_dir_all(root().join("docs/pictures")).expect("a folder");
            fs_err::write(&path, &drawn).expect("a file");
        }
        let stands = fs_err::read_to_string(&path).expect("a picture");
        // A checkout on Windows may have other line ends.
        assert!(
            stands.replace("\r\n", "\n") == drawn,
            "docs/pictures/{name}.svg is old: `UPDATE_DOCS=1 cargo test --test pictures` draws it"
        );
    }
}
