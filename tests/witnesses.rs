//! Other tools' tables, re-typed as plain facts, compared with the matrix row by row.
//!
//! A difference is either a fault of ours or a disagreement with a reason: tests/witnesses/*.yaml
//! lists the latter, and fails both on one that is not listed and on one that is gone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use gpuseal::domain::{
    Code, CodeTarget, ComputeCapability, CudaVersion, DriverVersion, Platform, PythonVersion,
    TorchRelease, TorchVersion, WheelVariant,
};
use gpuseal::matrix::{Level, Matrix};
use gpuseal::resolve::case::{Case, Driver};
use gpuseal::resolve::judge::judge;
use gpuseal::resolve::physics::{self, DriverFit, Served};
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disagreement {
    row: String,
    why: String,
}

fn read<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/witnesses").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    serde_yaml::from_str(&text).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

/// Both directions: nothing unlisted, nothing listed in vain.
fn settle(file: &str, found: &BTreeMap<String, Vec<String>>, listed: &[Disagreement]) {
    let reasons: BTreeMap<&str, &str> =
        listed.iter().map(|d| (d.row.as_str(), d.why.as_str())).collect();
    assert_eq!(reasons.len(), listed.len(), "{file}: a disagreement stands twice");
    assert!(reasons.values().all(|why| why.len() > 10), "{file}: a disagreement has no reason");
    let mut text = String::new();
    for (row, how) in found.iter().filter(|(row, _)| !reasons.contains_key(row.as_str())) {
        let _ = writeln!(text, "  not listed: {row}: {}", how.join("; "));
    }
    for row in reasons.keys().filter(|row| !found.contains_key(**row)) {
        let _ = writeln!(text, "  no longer differs: {row}");
    }
    assert!(text.is_empty(), "{file}:\n{text}");
}

fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap_or_else(|err| panic!("{text}: {err:?}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Floors {
    rows: Vec<Floor>,
    disagreements: Vec<Disagreement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Floor {
    cuda: String,
    linux: String,
    windows: String,
    #[serde(rename = "in")]
    peers: Vec<String>,
}

/// `525.60.12` for `525.60.13`, `579.99.99` for `580`.
fn one_below(driver: &str) -> DriverVersion {
    let mut parts: Vec<u16> = driver.split('.').map(parse).collect();
    for at in (0..parts.len()).rev() {
        if parts[at] > 0 {
            parts[at] -= 1;
            parts.truncate(at + 1);
            break;
        }
    }
    parts.resize(3, 99);
    parse(&parts.iter().map(ToString::to_string).collect::<Vec<_>>().join("."))
}

#[test]
fn driver_floors_of_installers() {
    let floors: Floors = read("driver_floors.yaml");
    let matrix = Matrix::embedded();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in &floors.rows {
        assert!(!row.peers.is_empty());
        let cuda: CudaVersion = parse(&row.cuda);
        for (platform, floor) in
            [(Platform::LinuxAmd64, &row.linux), (Platform::WindowsAmd64, &row.windows)]
        {
            let mut differ =
                |how: String| found.entry(format!("{cuda} {platform}")).or_default().push(how);
            let (at, below) = (parse::<DriverVersion>(floor), one_below(floor));
            let fit = physics::driver_fit(&matrix, cuda, at, platform);
            if !matches!(fit, DriverFit::Native | DriverFit::MinorCompat) {
                differ(format!("{at} at the floor: {fit:?}"));
            }
            let fit = physics::driver_fit(&matrix, cuda, below, platform);
            if fit != DriverFit::TooOld {
                differ(format!("{below} below the floor: {fit:?}"));
            }
            for torch in builds(&matrix, cuda, platform) {
                if too_old(&matrix, &torch, at, platform) {
                    differ(format!("torch {torch} refuses {at}, at the floor"));
                }
                if !too_old(&matrix, &torch, below, platform) {
                    differ(format!("torch {torch} takes {below}, below the floor"));
                }
            }
        }
    }
    settle("driver_floors.yaml", &found, &floors.disagreements);
}

fn builds(matrix: &Matrix, cuda: CudaVersion, platform: Platform) -> Vec<String> {
    matrix
        .releases
        .iter()
        .flat_map(|r| r.variants.iter().map(move |v| (r, v)))
        .filter(|(_, v)| v.cuda == Some(cuda) && v.build(platform).is_some())
        .map(|(r, v)| format!("{}+{}", r.version, v.name))
        .collect()
}

/// What a whole judgement says about the driver alone. The card is a T4, which every list serves.
fn too_old(matrix: &Matrix, torch: &str, driver: DriverVersion, platform: Platform) -> bool {
    let case = Case {
        torch: Some(parse(torch)),
        gpus: vec![matrix.gpu("t4").unwrap()],
        driver: Some(Driver {
            spec: gpuseal::domain::DriverSpec::Oldest(driver),
            oldest: Some(driver),
            newest_branch: Some(driver.branch),
            note: None,
        }),
        platform: Some(platform),
        ..Case::default()
    };
    judge(&case, matrix).findings.iter().any(|f| f.code == Code::DriverTooOld)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trains {
    rows: Vec<TrainRow>,
    disagreements: Vec<Disagreement>,
    absent: Vec<Disagreement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrainRow {
    torch: String,
    torchvision: String,
    torchaudio: String,
    cuda: String,
    pythons: Vec<String>,
}

#[test]
fn trains_of_an_image_builder() {
    let trains: Trains = read("torch_trains.yaml");
    let matrix = Matrix::embedded();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in &trains.rows {
        let faults = train_faults(&matrix, row);
        if !faults.is_empty() {
            found.insert(row.torch.clone(), faults);
        }
    }
    settle("torch_trains.yaml, disagreements", &found, &trains.disagreements);

    // The other way round: what we have and the witness has not.
    let listed: BTreeSet<String> =
        trains.rows.iter().map(|row| labelled(&matrix, &row.torch)).collect();
    let releases: BTreeSet<TorchRelease> =
        trains.rows.iter().filter_map(|r| parse::<TorchVersion>(&r.torch).release()).collect();
    let mut found = BTreeMap::new();
    for release in matrix.releases.iter().filter(|r| releases.contains(&r.version)) {
        for variant in release
            .variants
            .iter()
            .filter(|v| v.cuda.is_some() && v.build(Platform::LinuxAmd64).is_some())
        {
            let name = format!("{}+{}", release.version, variant.name);
            if !listed.contains(&name) {
                found.insert(name, vec!["the witness does not list it".to_owned()]);
            }
        }
    }
    settle("torch_trains.yaml, absent", &found, &trains.absent);
}

/// `2.0.1` is `2.0.1+cu117`, for that is PyPI's build.
fn labelled(matrix: &Matrix, torch: &str) -> String {
    let version: TorchVersion = parse(torch);
    match (version.variant, version.release().and_then(|r| matrix.release(r))) {
        (None, Some(release)) => {
            format!("{}+{}", release.version, release.pypi[&Platform::LinuxAmd64])
        }
        _ => torch.to_owned(),
    }
}

fn train_faults(matrix: &Matrix, row: &TrainRow) -> Vec<String> {
    let torch: TorchVersion = parse(&labelled(matrix, &row.torch));
    let Some(release) = torch.release().and_then(|r| matrix.release(r)) else {
        return vec!["no such release".into()];
    };
    let Some(variant) = torch.variant.and_then(|v| release.variant(v)) else {
        return vec!["no such build".into()];
    };
    let mut faults = Vec::new();
    let cuda = (row.cuda != "none").then(|| parse::<CudaVersion>(&row.cuda));
    if variant.cuda != cuda {
        faults.push(format!("its CUDA is {:?}", variant.cuda));
    }
    let public = |text: &str| text.split('+').next().unwrap_or_default().to_owned();
    let (vision, audio) = (public(&row.torchvision), public(&row.torchaudio));
    for (name, version) in [("torchvision", &vision), ("torchaudio", &audio)] {
        let train = release.train.get(name);
        if !train.is_some_and(|t| t.exact.contains(version) || t.open.contains(version)) {
            faults.push(format!("{name} {version} is not of its train"));
        }
    }
    for python in &row.pythons {
        let python: PythonVersion = parse(python);
        if cuda.is_none() {
            let here = release.wheels.iter().filter(|w| w.platform == Some(Platform::LinuxAmd64));
            if !here.flat_map(|w| &w.python).any(|tag| tag.admits(python)) {
                faults.push(format!("no file for Python {python}"));
            }
            continue;
        }
        // All three from torch's own page of the wheel index, as the witness installs them.
        let with =
            |name: &str, version: &str| parse(&format!("{name}=={version}+{}", variant.name));
        let case = Case {
            torch: Some(torch.clone()),
            python: Some(python),
            platform: Some(Platform::LinuxAmd64),
            with: vec![with("torchvision", &vision), with("torchaudio", &audio)],
            ..Case::default()
        };
        let judgement = judge(&case, matrix);
        if judgement.verdict != Code::Ok {
            let why = judgement.findings.first().map_or_else(String::new, |f| f.message.clone());
            faults.push(format!("Python {python}: {} ({why})", judgement.verdict));
        }
    }
    faults
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GpuFloors {
    floors: Vec<GpuFloor>,
    lists: Vec<List>,
    disagreements: Vec<Disagreement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GpuFloor {
    capability: String,
    torch: String,
    cuda: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    build: String,
    first: String,
    last: String,
    ptx: Vec<String>,
}

#[test]
fn gpu_floors_of_an_image_builder() {
    let floors: GpuFloors = read("gpu_floors.yaml");
    let matrix = Matrix::embedded();
    let platform = Platform::LinuxAmd64;
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for floor in &floors.floors {
        let device: ComputeCapability = parse(&floor.capability);
        let (torch, cuda): (TorchRelease, CudaVersion) = (parse(&floor.torch), parse(&floor.cuda));
        let mut differ = |how: String| found.entry(floor.capability.clone()).or_default().push(how);
        let mut at_floor = false;
        for release in &matrix.releases {
            for variant in release.variants.iter().filter(|v| v.official) {
                let (Some(own), Some(build)) = (variant.cuda, variant.build(platform)) else {
                    continue;
                };
                let served = physics::served(&matrix, &build.code, matrix.compiler(own), device);
                let runs = matches!(served, Served::Exact(_) | Served::SameMajor(_));
                at_floor |= runs && release.version == torch && own == cuda;
                if runs && (release.version < torch || own < cuda) {
                    differ(format!(
                        "{}+{} serves it, below the floor",
                        release.version, variant.name
                    ));
                }
            }
        }
        if !at_floor {
            differ(format!("torch {torch} with CUDA {cuda} does not serve it"));
        }
    }
    for list in &floors.lists {
        let mut differ = |how: String| found.entry(list.build.clone()).or_default().push(how);
        let torch: TorchVersion = parse(&list.build);
        let variant = torch.release().and_then(|r| matrix.release(r)?.variant(torch.variant?));
        let Some(build) = variant.and_then(|v| v.build(platform)) else {
            differ("no such build".into());
            continue;
        };
        let sass = build.code.sass.clone().unwrap_or_default();
        let ends = (
            sass.iter().min().map(ToString::to_string),
            sass.iter().max().map(ToString::to_string),
        );
        if ends != (Some(list.first.clone()), Some(list.last.clone())) {
            differ(format!("its machine code is {ends:?}"));
        }
        let ptx: Option<Vec<String>> = build.code.ptx.as_ref().map(|p| {
            p.iter().map(|c: &CodeTarget| c.to_string().replace("sm_", "compute_")).collect()
        });
        if ptx.as_ref() != Some(&list.ptx) {
            differ(format!("its PTX is {ptx:?}"));
        }
    }
    settle("gpu_floors.yaml", &found, &floors.disagreements);
}

/// Where the peers disagree with one another, the side that we take.
mod sides {
    use super::*;

    fn case(torch: &str, gpus: &[&str], matrix: &Matrix) -> Case {
        Case {
            torch: Some(parse(torch)),
            gpus: gpus.iter().map(|g| matrix.gpu(g).unwrap()).collect(),
            ..Case::default()
        }
    }

    fn driver(text: &str, matrix: &Matrix) -> Driver {
        Driver::place(parse(text), matrix).unwrap()
    }

    /// Some name 525.60.13 as the floor of CUDA 12.9, some 575: both are right, of different things.
    #[test]
    fn cuda_129_has_two_floors() {
        let matrix = Matrix::embedded();
        let bounds = judge(&case("2.8.0+cu129", &["t4"], &matrix), &matrix).driver;
        assert_eq!(bounds.min, Some(parse("525.60.13")));
        assert_eq!(bounds.native.map(|d| d.branch), Some(575));
    }

    /// One lists torch 2.11 on cu129, another does not: it exists, unannounced.
    #[test]
    fn torch_211_cu129_exists_unannounced() {
        let matrix = Matrix::embedded();
        let release = matrix.release(parse("2.11.0")).unwrap();
        let variant =
            release.variant(WheelVariant::of_cuda(CudaVersion::new(12, 9)).unwrap()).unwrap();
        assert!(!variant.official);
        assert!(variant.build(Platform::LinuxAmd64).is_some());
    }

    /// One has Python 3.13 for torch 2.5, another stops at 3.12: the file exists, for one platform.
    #[test]
    fn torch_25_has_python_313_on_one_platform() {
        let matrix = Matrix::embedded();
        let mut case = Case { python: Some(parse("3.13")), ..case("2.5.0", &[], &matrix) };
        assert_eq!(judge(&case, &matrix).verdict, Code::Ok);
        case.platform = Some(Platform::LinuxArm64);
        assert_eq!(judge(&case, &matrix).verdict, Code::PythonUnsupported);
    }

    /// One table has Volta in cu128 of 2.9 and 2.10, another has not: the wheels have it.
    #[test]
    fn volta_is_in_cu128_up_to_210() {
        let matrix = Matrix::embedded();
        for (torch, verdict) in [
            ("2.7.1+cu128", Code::ArchNotInBinary),
            ("2.8.0+cu128", Code::Ok),
            ("2.9.1+cu128", Code::Ok),
            ("2.10.0+cu128", Code::Ok),
            ("2.11.0+cu128", Code::ArchNotInBinary),
        ] {
            assert_eq!(
                judge(&case(torch, &["v100"], &matrix), &matrix).verdict,
                verdict,
                "{torch}"
            );
        }
        // That the 2.9 and 2.10 builds of PyPI have it was read in the files.
        for torch in ["2.9.1", "2.10.0"] {
            let release = matrix.release(parse(torch)).unwrap();
            let build = release
                .variant(release.pypi[&Platform::LinuxAmd64])
                .unwrap()
                .build(Platform::LinuxAmd64)
                .unwrap();
            assert_eq!(matrix.level(&build.evidence), Level::Artifact, "{torch}");
        }
    }

    /// Lowest card, highest card, first card: we judge every card.
    #[test]
    fn of_mixed_cards_each_is_judged() {
        let matrix = Matrix::embedded();
        for gpus in [["v100", "b200"], ["b200", "v100"]] {
            assert_eq!(judge(&case("2.10.0+cu128", &gpus, &matrix), &matrix).verdict, Code::Ok);
            for torch in ["2.10.0+cu126", "2.11.0+cu130"] {
                assert_eq!(
                    judge(&case(torch, &gpus, &matrix), &matrix).verdict,
                    Code::ArchNotInBinary,
                    "{torch}"
                );
            }
        }
    }

    /// One wants a driver as new as the toolkit, one knows minor-version compatibility: the latter,
    /// except for PTX.
    #[test]
    fn minor_version_compatibility_counts_but_not_for_ptx() {
        let matrix = Matrix::embedded();
        let old = Case {
            driver: Some(driver("535.161.08", &matrix)),
            ..case("2.8.0+cu129", &["t4"], &matrix)
        };
        assert_eq!(judge(&old, &matrix).verdict, Code::Ok);
        let cuda = CudaVersion::new(12, 9);
        let floor = |ptx| physics::driver_floor(&matrix, cuda, Platform::LinuxAmd64, ptx).unwrap();
        assert_eq!(floor(false), parse("525.60.13"));
        assert_eq!(floor(true).branch, 575);
    }

    /// torch warns that 12.1 is not in its list, people run it: code for 12.0 serves it.
    #[test]
    fn code_for_120_serves_121() {
        let matrix = Matrix::embedded();
        let judgement = judge(&case("2.11.0+cu130", &["gb10"], &matrix), &matrix);
        assert_eq!(judgement.verdict, Code::Ok);
        assert_eq!(judgement.gpus[0].served, Some(Served::SameMajor(parse("sm_120"))));
    }

    /// One calls a slim Python image an error on GPUs: the wheels bring all of CUDA that torch needs.
    #[test]
    fn a_slim_python_image_serves() {
        let matrix = Matrix::embedded();
        let slim = Case {
            driver: Some(driver("535.161.08", &matrix)),
            base_image: Some(parse("python:3.12-slim-bookworm")),
            ..case("2.8.0", &["l4"], &matrix)
        };
        assert_eq!(judge(&slim, &matrix).verdict, Code::Ok);
    }
}
