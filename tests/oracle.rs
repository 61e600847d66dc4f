//! Markers, version specifiers and names of wheels against the verdicts of `packaging`, pages of an
//! index against Python's parser of HTML.
//!
//! tests/oracle/requirements.py writes the file that GPUSEAL_ORACLE names, tests/oracle/wheels.py that
//! of GPUSEAL_ORACLE_WHEELS; .ci/oracle runs both.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "what was compared is part of the answer")]

use std::collections::BTreeMap;
use std::str::FromStr as _;

use gpuseal::domain::Sha256;
use gpuseal::index::page;
use gpuseal::index::wheel::{Machine, Rank, WheelName};
use gpuseal::requirements::project::{Marker, Setting};
use pep440_rs::{Operator, Version, VersionSpecifier, VersionSpecifiers};

/// Where pep440_rs and packaging differ: what it is, why it stays, and whether it is that.
type Deliberate = (&'static str, &'static str, fn(&VersionSpecifier, &Version) -> bool);

const SPECIFIERS: &[Deliberate] = &[
    (
        "===",
        "pep440_rs compares versions, packaging their texts: `===1.0` is no `1.00` there",
        |spec, _| matches!(spec.operator(), Operator::ExactEqual),
    ),
    (
        "short versions",
        "pep440_rs takes `2` for a `==2.3.*`; releases of torch and of Python have three parts",
        |spec, version| {
            matches!(spec.operator(), Operator::EqualStar | Operator::NotEqualStar)
                && version.release().len() < spec.version().release().len()
        },
    ),
    (
        "beside a release",
        "PEP 440 leaves open which pre-, post- and development releases of 2.0 are `<2.0.post1` and \
         `>2.0.dev1`: pep440_rs leaves out more of them, and an epoch does not matter to it there",
        |spec, version| {
            let base = |v: &Version| v.clone().only_release().with_epoch(0);
            matches!(spec.operator(), Operator::LessThan | Operator::GreaterThan)
                && base(spec.version()) == base(version)
        },
    ),
];

/// What was compared, and what differed without being meant to.
#[derive(Default)]
struct Tally {
    compared: usize,
    deliberate: BTreeMap<&'static str, usize>,
    faults: Vec<String>,
}

fn bits(verdicts: impl Iterator<Item = bool>) -> String {
    verdicts.map(|held| if held { '1' } else { '0' }).collect()
}

impl Tally {
    fn settle(&mut self, given: &str, theirs: &str, ours: &str) {
        self.compared += ours.len();
        if theirs != ours {
            self.faults.push(format!("{given}\n    packaging {theirs}\n    gpuseal   {ours}"));
        }
    }

    /// A specifier against each of some versions.
    fn specifier(&mut self, given: &str, versions: &str, theirs: &str) {
        let (Ok(specs), false) = (VersionSpecifiers::from_str(given), theirs == "refused") else {
            let refused = VersionSpecifiers::from_str(given).is_err();
            return self.settle(given, theirs, if refused { "refused" } else { "taken" });
        };
        for (version, theirs) in versions.split(' ').zip(theirs.split_inclusive(|_| true)) {
            let version = Version::from_str(version).unwrap();
            let listed = SPECIFIERS.iter().find(|(.., is)| specs.iter().any(|s| is(s, &version)));
            let ours = bits([specs.contains(&version)].into_iter());
            match listed.filter(|_| ours != theirs) {
                Some((what, ..)) => *self.deliberate.entry(what).or_default() += 1,
                None => self.settle(&format!("{given} with {version}"), theirs, &ours),
            }
        }
    }
}

#[test]
#[ignore = "needs the file that tests/oracle/requirements.py writes"]
fn verdicts_are_those_of_packaging() {
    let path = std::env::var("GPUSEAL_ORACLE").expect("GPUSEAL_ORACLE names the file");
    let text = fs_err::read_to_string(path).unwrap();
    let (mut markers, mut specifiers) = (Tally::default(), Tally::default());
    let mut settings = Vec::new();
    for row in text.lines() {
        let cells: Vec<&str> = row.split('\t').collect();
        match cells.as_slice() {
            ["environments", names @ ..] => settings.extend(names.iter().map(|name| {
                let (platform, python) = name.split_once(' ').unwrap();
                Setting::new(platform.parse().unwrap(), python.parse().unwrap())
            })),
            ["marker", given, extra, theirs] => {
                let extras: Vec<String> =
                    Some(*extra).filter(|e| !e.is_empty()).map(str::to_owned).into_iter().collect();
                let ours = Marker::parse(given).map_or("refused".into(), |marker| {
                    bits(settings.iter().map(|setting| marker.holds(setting, &extras)))
                });
                markers.settle(given, theirs, &ours);
            }
            ["specifier", given, versions, theirs] => specifiers.specifier(given, versions, theirs),
            _ => panic!("no row of this file: {row}"),
        }
    }
    println!("{:7} verdicts on a marker compared", markers.compared);
    println!("{:7} verdicts on a specifier compared", specifiers.compared);
    for (what, why, _) in SPECIFIERS {
        let count = specifiers.deliberate.get(what).copied().unwrap_or_default();
        println!("{count:7} differ as meant: {what}: {why}");
    }
    assert!(markers.compared > 1000 && specifiers.compared > 1000, "the file is nearly empty");
    let faults: Vec<&String> = markers.faults.iter().chain(&specifiers.faults).collect();
    let shown: Vec<&str> = faults.iter().take(40).map(|fault| fault.as_str()).collect();
    assert!(faults.is_empty(), "{} differ:\n{}", faults.len(), shown.join("\n"));
}

/// `linux/amd64 3.12 2.28`; `-`: no glibc.
fn machine(text: &str) -> Machine {
    let [platform, python, glibc] = text.split(' ').collect::<Vec<_>>()[..] else {
        panic!("no machine: {text}");
    };
    Machine {
        platform: platform.parse().unwrap(),
        python: python.parse().unwrap(),
        glibc: Some(glibc).filter(|text| *text != "-").map(|text| text.parse().unwrap()),
    }
}

/// What packaging prefers on one machine, as numbers that are the same for what it holds equal, with
/// our rank of the same file.
type Preferred = Vec<(u64, String, Rank)>;

#[test]
#[ignore = "needs the file that tests/oracle/wheels.py writes"]
fn wheels_install_and_rank_as_packaging_says() {
    let path =
        std::env::var("GPUSEAL_ORACLE_WHEELS").expect("GPUSEAL_ORACLE_WHEELS names the file");
    let text = fs_err::read_to_string(path).unwrap();
    let mut machines: Vec<(Machine, Preferred)> = Vec::new();
    let (mut names, mut fits, mut pages, mut links) = (0, 0, 0, 0);
    let mut faults = Vec::new();
    let mut page: Option<std::vec::IntoIter<page::File>> = None;
    for row in text.lines() {
        match row.split('\t').collect::<Vec<_>>().as_slice() {
            ["machine", name] => machines.push((machine(name), Vec::new())),
            ["wheel", file, places] => {
                names += 1;
                let read = file.parse::<WheelName>();
                if *places == "refused" {
                    let installs =
                        |wheel: &WheelName| machines.iter().any(|(on, _)| wheel.rank(on).is_some());
                    if read.is_ok_and(|wheel| installs(&wheel)) {
                        faults.push(format!("{file}: packaging refuses it"));
                    }
                    continue;
                }
                let Ok(wheel) = read else {
                    faults.push(format!("{file}: refused"));
                    continue;
                };
                for ((on, list), place) in machines.iter_mut().zip(places.split(' ')) {
                    fits += 1;
                    match (place.parse::<u64>(), wheel.rank(on)) {
                        (Ok(place), Some(rank)) => list.push((place, (*file).to_owned(), rank)),
                        (Err(_), None) => (),
                        (theirs, ours) => {
                            faults.push(format!("{file} on {on:?}: {theirs:?}, {ours:?}"));
                        }
                    }
                }
            }
            ["page", path, kind, url, count] => {
                let body = fs_err::read(path).unwrap();
                let read = page::read(&body, Some(kind), &url.parse().unwrap()).unwrap();
                pages += 1;
                println!("{:7} files of {url}, {} passed over", read.files.len(), read.skipped);
                if (read.files.len() + read.skipped).to_string() != *count || read.skipped > 20 {
                    faults.push(format!("{url}: {count} links there, {} here", read.files.len()));
                }
                page = Some(read.files.into_iter());
            }
            ["link", name, url, sha256, python, yanked] => {
                links += 1;
                let Some(file) = page.as_mut().and_then(Iterator::next) else {
                    faults.push(format!("{name} is missing"));
                    continue;
                };
                let ours = [
                    file.name.as_str(),
                    file.url.as_str(),
                    file.sha256.as_ref().map_or("-", Sha256::hex),
                    file.requires_python.as_deref().unwrap_or("-"),
                    file.yanked.as_deref().unwrap_or("-"),
                ];
                if ours != [*name, *url, *sha256, *python, *yanked] {
                    faults.push(format!("{row:?}\n    {ours:?}"));
                }
            }
            _ => panic!("no row of this file: {row}"),
        }
    }
    let mut pairs = 0;
    for (on, mut list) in machines {
        list.sort_by_key(|(place, ..)| *place);
        for pair in list.windows(2) {
            pairs += 1;
            // The smaller place is preferred, the greater rank is.
            if pair[0].0.cmp(&pair[1].0) != pair[1].2.cmp(&pair[0].2) {
                faults.push(format!("{} and {} on {on:?}", pair[0].1, pair[1].1));
            }
        }
    }
    println!("{names:7} names of wheels, {fits} verdicts, {pairs} neighbours in the order");
    println!("{pages:7} pages of an index, {links} links");
    assert!(names > 1000 && pairs > 1000, "the file is nearly empty");
    let shown: Vec<&str> = faults.iter().take(40).map(String::as_str).collect();
    assert!(faults.is_empty(), "{} differ:\n{}", faults.len(), shown.join("\n"));
}
