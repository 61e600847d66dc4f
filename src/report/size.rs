//! What an image will weigh: a table, `gpuseal.size`, and one line before it is built.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use super::{bytes, human, json_v1};
use crate::lock::{Lockfile, Target};
use crate::render::size::{Row, Size, Sum};

/// Packages with a line of their own; the rest is summed.
const MOST_ROWS: usize = 10;
/// Packages that the one line names.
const MOST_NAMES: usize = 3;

#[derive(Serialize)]
struct SizesV1<'a> {
    lock: String,
    targets: Vec<SizeV1<'a>>,
}

#[derive(Serialize)]
struct SizeV1<'a> {
    name: &'a str,
    platform: String,
    base: RowV1<'a>,
    apt: &'a [String],
    packages: Vec<RowV1<'a>>,
    fetched: SumV1,
    unpacked: SumV1,
    findings: Vec<json_v1::FindingV1<'a>>,
}

#[derive(Serialize)]
struct RowV1<'a> {
    name: &'a str,
    fetched: Option<u64>,
    unpacked: Option<u64>,
}

/// Bytes of the packages that are known, and how many are not.
#[derive(Serialize)]
struct SumV1 {
    bytes: u64,
    unknown: usize,
}

fn row(row: &Row) -> RowV1<'_> {
    RowV1 { name: &row.name, fetched: row.fetched, unpacked: row.unpacked }
}

fn sum(sum: Sum) -> SumV1 {
    SumV1 { bytes: sum.bytes, unknown: sum.unknown }
}

/// `gpuseal.size`
pub fn json(lock: &Lockfile, sizes: &[(&Target, Size)]) -> String {
    let targets = sizes.iter().map(|(target, size)| SizeV1 {
        name: target.name.as_str(),
        platform: target.platform.to_string(),
        base: row(&size.base),
        apt: &size.apt,
        packages: size.packages.iter().map(row).collect(),
        fetched: sum(size.fetched),
        unpacked: sum(size.unpacked),
        findings: size.findings.iter().map(json_v1::finding).collect(),
    });
    let body = SizesV1 { lock: lock.digest().to_string(), targets: targets.collect() };
    json_v1::document_of_lock("gpuseal.size", lock, body)
}

/// The table of each target, the largest packages first, and what is wrong with them.
pub fn human(sizes: &[(&Target, Size)]) -> String {
    let mut text = String::new();
    for (number, (target, size)) in sizes.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        let _ = writeln!(text, "image of target {}, {}", target.name, target.platform);
        for line in table(size).lines() {
            let _ = writeln!(text, "  {}", line.trim_end());
        }
        if size.unpacked.bytes > 0 {
            // No directory of a wheel knows it. Of torch 2.15.0 and what it needs 2 % are modules.
            let note = "bytecode, which uv writes beside every module, comes on top: up to 3 %";
            let _ = writeln!(text, "  {}", human::paint(human::DIM, note));
        }
        for finding in &size.findings {
            text.push('\n');
            human::finding(finding, &mut text);
        }
    }
    text
}

fn table(size: &Size) -> Table {
    let known = |count: Option<u64>| count.map_or_else(|| "unknown".into(), bytes);
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["PART", "TO FETCH", "ON DISK"]);
    let mut add = |name: String, fetched: String, unpacked: String| {
        table.add_row([name, fetched, unpacked]);
    };
    let base = &size.base;
    add(base.name.clone(), known(base.fetched), known(base.unpacked));
    if !size.apt.is_empty() {
        add(format!("apt: {}", size.apt.join(", ")), known(None), known(None));
    }
    // One more than the rest would be as long as saying so.
    let shown = if size.packages.len() <= MOST_ROWS + 1 { MOST_ROWS + 1 } else { MOST_ROWS };
    let (large, small) = size.packages.split_at(shown.min(size.packages.len()));
    for row in large {
        add(row.name.clone(), known(row.fetched), known(row.unpacked));
    }
    if !small.is_empty() {
        let of = |column: fn(&Row) -> Option<u64>| total(small.iter().map(column).collect());
        add(format!("{} more", small.len()), of(|r| r.fetched), of(|r| r.unpacked));
    }
    let and_base = |sum: Sum, base: Option<u64>| {
        let rest = usize::from(base.is_none()) + usize::from(!size.apt.is_empty());
        Sum { bytes: sum.bytes.saturating_add(base.unwrap_or(0)), unknown: sum.unknown + rest }
    };
    add(
        "together".into(),
        total(and_base(size.fetched, base.fetched)),
        total(and_base(size.unpacked, base.unpacked)),
    );
    for column in [1, 2] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A sum of which a part may be unknown.
fn total(sum: Sum) -> String {
    match sum {
        Sum { bytes: count, unknown: 0 } => bytes(count),
        Sum { bytes: 0, .. } => "unknown".into(),
        Sum { bytes: count, .. } => format!("at least {}", bytes(count)),
    }
}

/// What is to be expected of an image, in one line; nothing where too little is known.
pub fn line(target: &Target, size: &Size) -> Option<String> {
    if !size.tells() {
        return None;
    }
    let about = if size.unpacked.unknown == 0 { "about" } else { "at least" };
    let largest: Vec<_> = size
        .packages
        .iter()
        .filter_map(|row| Some(format!("{} {}", row.name, bytes(row.unpacked?))))
        .take(MOST_NAMES)
        .collect();
    let base = size.base.fetched.map_or_else(String::new, |n| format!(" ({} to pull)", bytes(n)));
    Some(format!(
        "image of target {}: {about} {} on top of {}{base}, of which {}",
        target.name,
        bytes(size.unpacked.bytes),
        size.base.name,
        largest.join(", "),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::sample;

    fn size(packages: usize, apt: &[&str], pull: Option<u64>) -> Size {
        let row = |n: usize| Row {
            name: format!("package-{n}"),
            fetched: Some(1_000_000),
            unpacked: (n < 12).then_some(2_000_000_000 - n as u64 * 100_000_000),
        };
        let packages: Vec<_> = (0..packages).map(row).collect();
        Size {
            base: Row { name: "python:3.12-slim".into(), fetched: pull, unpacked: None },
            apt: apt.iter().map(ToString::to_string).collect(),
            fetched: packages.iter().map(|row| row.fetched).collect(),
            unpacked: packages.iter().map(|row| row.unpacked).collect(),
            packages,
            findings: Vec::new(),
        }
    }

    fn shown(size: Size) -> Vec<String> {
        let lock = sample::lock();
        let text = human(&[(&lock.targets[0], size)]);
        text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn small_packages_are_summed_and_sums_say_what_they_lack() {
        let lines = shown(size(14, &["gcc"], Some(45_000_000)));
        assert_eq!(lines[0], "image of target train, linux/amd64");
        assert_eq!(lines[1], "PART TO FETCH ON DISK");
        assert_eq!(lines[2], "python:3.12-slim 45.0 MB unknown");
        assert_eq!(lines[3], "apt: gcc unknown unknown");
        assert_eq!(lines[4], "package-0 1.0 MB 2.0 GB");
        assert_eq!(lines[14], "4 more 4.0 MB at least 1.9 GB");
        assert_eq!(lines[15], "together at least 59.0 MB at least 17.4 GB");
        assert!(lines[16].contains("bytecode") && lines.len() == 17);
        // All that is known makes a sum without a doubt; the base is never known unpacked.
        let lines = shown(size(11, &[], Some(45_000_000)));
        assert_eq!(lines.len(), 16, "eleven lines are no longer than a line about one more");
        assert_eq!(lines[14], "together 56.0 MB at least 16.5 GB");
        let lines = shown(size(0, &[], None));
        assert_eq!(lines[3], "together unknown unknown");
    }

    #[test]
    fn one_line_names_the_largest_or_says_nothing() {
        let lock = sample::lock();
        let line = |size: &Size| line(&lock.targets[0], size);
        assert_eq!(
            line(&size(3, &[], Some(45_000_000))).as_deref(),
            Some(
                "image of target train: about 5.7 GB on top of python:3.12-slim (45.0 MB to pull), \
                 of which package-0 2.0 GB, package-1 1.9 GB, package-2 1.8 GB"
            )
        );
        assert!(line(&size(14, &[], None)).is_some_and(|l| l.contains("at least 17.4 GB on top")));
        let mut none = size(3, &[], None);
        none.unpacked = Sum { bytes: 7, unknown: 2 };
        assert_eq!(line(&none), None);
        assert_eq!(line(&size(0, &[], None)), None);
    }

    #[test]
    fn the_document_has_every_package() {
        let lock = sample::lock();
        let text = json(&lock, &[(&lock.targets[0], size(14, &["gcc"], None))]);
        let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(document["schema"]["name"], "gpuseal.size");
        assert_eq!(document["lock"], lock.digest().to_string());
        assert_eq!(document["matrix"]["overlays"][0], "site.yaml");
        let target = &document["targets"][0];
        assert_eq!(target["packages"].as_array().expect("a list").len(), 14);
        assert_eq!(target["packages"][13]["unpacked"], serde_json::Value::Null);
        assert_eq!(
            (&target["unpacked"]["unknown"], &target["fetched"]["bytes"]),
            (&2.into(), &14_000_000.into())
        );
        assert_eq!(target["base"]["fetched"], serde_json::Value::Null);
    }
}
