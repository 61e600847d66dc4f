//! How fast the questions are answered. `cargo bench` prints the times; the figures to reach stand in
//! docs/measurements.
//!
//! `verdicts` asks the whole grid of torch builds, cards and drivers: its counter is verdicts a second.

use std::hint::black_box;

use divan::Bencher;
use divan::counter::ItemsCount;
use gpuseal::domain::{CudaVersion, DriverSpec, DriverVersion, Platform};
use gpuseal::matrix::{CodeList, Compiler, GpuMatch, Matrix};
use gpuseal::requirements::{Requirements, Target};
use gpuseal::resolve::physics::{self, Verdict};
use gpuseal::resolve::{Outcome, Problem, resolve};

fn main() {
    divan::main();
}

/// One build of torch for one platform, with what is looked up once for it.
struct Row<'m> {
    code: &'m CodeList,
    compiler: Option<&'m Compiler>,
    cuda: CudaVersion,
    platform: Platform,
}

fn builds(matrix: &Matrix) -> Vec<Row<'_>> {
    let variants = matrix.releases.iter().flat_map(|r| &r.variants);
    let rows = variants.flat_map(|v| v.builds.iter().map(move |b| (v, b)));
    rows.filter_map(|(v, b)| {
        let cuda = v.cuda?;
        Some(Row { code: &b.code, compiler: matrix.compiler(cuda), cuda, platform: b.platform })
    })
    .collect()
}

fn cards(matrix: &Matrix) -> Vec<GpuMatch> {
    matrix.gpus.iter().filter_map(|gpu| matrix.gpu(&gpu.id).ok()).collect()
}

fn drivers(matrix: &Matrix) -> Vec<DriverVersion> {
    matrix.branches.iter().filter_map(|b| b.first_data_center).collect()
}

/// Every torch build of every platform x every card x the first driver of every branch, on one core.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn verdicts(bencher: Bencher<'_, '_>) {
    let matrix = Matrix::embedded();
    let (builds, cards, drivers) = (builds(&matrix), cards(&matrix), drivers(&matrix));
    let grid = builds.len() * cards.len() * drivers.len();
    bencher.counter(ItemsCount::new(grid)).bench_local(|| {
        let mut run = 0_usize;
        for build in &builds {
            for card in &cards {
                for driver in &drivers {
                    let verdict = physics::verdict(
                        &matrix,
                        build.code,
                        build.compiler,
                        build.cuda,
                        build.platform,
                        black_box(card),
                        black_box(*driver),
                    );
                    run += usize::from(verdict == Verdict::Runs);
                }
            }
        }
        run
    });
}

/// Unpacks the matrix that came with the program.
#[divan::bench]
fn embedded() -> Matrix {
    Matrix::embedded()
}

fn target(name: String, gpus: &[&str], driver: &str, platform: Option<Platform>) -> Target {
    Target {
        name,
        gpus: gpus.iter().map(|g| (*g).to_owned()).collect(),
        driver: driver.parse::<DriverSpec>().ok(),
        platform,
        os: None,
        kernel_module: None,
        line: None,
        todo: Vec::new(),
    }
}

fn problem(matrix: &Matrix, with: &[&str], targets: Vec<Target>) -> Problem {
    let wanted = Requirements {
        torch: ">=2.8".parse().ok(),
        python: "3.12".parse().ok(),
        with: with.iter().filter_map(|p| p.parse().ok()).collect(),
        targets,
        ..Requirements::default()
    };
    let problem = Problem::place(&wanted, matrix);
    problem.unwrap_or_else(|unplaced| panic!("{unplaced:?}"))
}

/// Three pools that have little in common: training, an old edge pool, Arm machines.
#[divan::bench]
fn resolve_mixed(bencher: Bencher<'_, '_>) {
    let matrix = Matrix::embedded();
    let targets = vec![
        target("train".into(), &["h100", "b200"], "580.65.06", None),
        target("edge".into(), &["l4", "t4"], "535.161.08", None),
        target("arm".into(), &["gh200"], "570.133.20", Some(Platform::LinuxArm64)),
    ];
    let problem = problem(&matrix, &["torchvision", "torchaudio"], targets);
    assert!(matches!(resolve(&problem, &matrix), Outcome::Solved(_)), "a problem with an answer");
    bencher.bench_local(|| resolve(black_box(&problem), &matrix));
}

/// The fleet of a large house.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn resolve_200_targets(bencher: Bencher<'_, '_>) {
    let matrix = Matrix::embedded();
    let cards = ["t4", "a100", "l4", "h100", "a10g", "rtx4090", "l40s", "rtx3090"];
    let drivers = ["535.161.08", "550.54.15", "570.86.15", "580.65.06"];
    let targets = (0..200)
        .map(|i| {
            let gpus = [cards[i % cards.len()], cards[(i / 3 + 1) % cards.len()]];
            target(format!("pool-{i}"), &gpus, drivers[i % drivers.len()], None)
        })
        .collect();
    let problem = problem(&matrix, &["torchvision"], targets);
    assert!(matches!(resolve(&problem, &matrix), Outcome::Solved(_)), "a problem with an answer");
    bencher.bench_local(|| resolve(black_box(&problem), &matrix));
}

/// A problem without an answer: the smallest clash and the cures are found by solving again.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn explain_clash(bencher: Bencher<'_, '_>) {
    let matrix = Matrix::embedded();
    let targets = vec![target("mixed".into(), &["v100", "b300"], "550.54.15", None)];
    let problem = problem(&matrix, &["torchvision", "xformers"], targets);
    assert!(
        !matches!(resolve(&problem, &matrix), Outcome::Solved(_)),
        "a problem without an answer"
    );
    bencher.bench_local(|| resolve(black_box(&problem), &matrix));
}
