//! What must hold of every problem, asked of random ones.
//!
//! The same cases on each run; `PROPTEST_CASES=2000 cargo test --release --test properties` tries
//! that many others.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fmt::{Debug, Write as _};
use std::sync::LazyLock;

use gpuseal::domain::{
    Code, DriverSpec, DriverVersion, KernelModule, Package, Platform, PythonVersion,
};
use gpuseal::matrix::Matrix;
use gpuseal::requirements::{Allow, Need, Prefer, PythonWish, Requirements, Target};
use gpuseal::resolve::case::{Case, Driver};
use gpuseal::resolve::{
    Alternative, Explanation, Outcome, Pool, Problem, Resolution, Stack, judge, resolve, solves,
};
use proptest::collection::btree_set;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

static MATRIX: LazyLock<Matrix> = LazyLock::new(Matrix::embedded);

fn parse<T: std::str::FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap_or_else(|err| panic!("{text}: {err:?}"))
}

/// Runs `test` on `cases` problems, or on as many others as `PROPTEST_CASES` says.
fn run<S: Strategy>(
    cases: u32,
    strategy: &S,
    test: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok());
    let config = Config {
        cases: asked.unwrap_or(cases),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    };
    let mut runner = match asked {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    if let Err(err) = runner.run(strategy, test) {
        panic!("{err}");
    }
}

/// Every card by its row, and every capability.
fn cards() -> impl Strategy<Value = String> {
    let rows: Vec<String> = MATRIX.gpus.iter().map(|g| g.id.clone()).collect();
    let bare: Vec<String> =
        MATRIX.generations.iter().flat_map(|g| &g.capabilities).map(ToString::to_string).collect();
    let common =
        ["t4", "v100", "a100", "l4", "h100", "b200", "rtx4090", "rtx5090", "gh200", "gtx1080ti"]
            .map(str::to_owned);
    prop_oneof![3 => select(rows), 1 => select(bare), 8 => select(common.to_vec())]
}

fn drivers() -> Vec<String> {
    let known = MATRIX.branches.iter().flat_map(|b| {
        let first = b.first_data_center.map(|d| d.to_string());
        first.into_iter().chain(b.latest.clone()).chain([b.branch.to_string()])
    });
    // Names such as `615.71.10` only: a row may hold a remark.
    known.filter(|text| text.parse::<DriverVersion>().is_ok()).collect()
}

/// A driver, newer ones more often: most of the table is history.
fn driver() -> impl Strategy<Value = String> {
    let all = drivers();
    let recent: Vec<_> =
        all.iter().filter(|d| parse::<DriverVersion>(d).branch >= 535).cloned().collect();
    let exact = prop_oneof![1 => select(all), 4 => select(recent)];
    prop_oneof![8 => exact.clone(), 2 => exact.prop_map(|d| format!(">={d}")), 1 => Just("<580".to_owned())]
}

fn torch() -> impl Strategy<Value = String> {
    let releases: Vec<String> = MATRIX.releases.iter().map(|r| r.version.to_string()).collect();
    let builds: Vec<String> = MATRIX
        .releases
        .iter()
        .flat_map(|r| {
            r.variants
                .iter()
                .filter(|v| v.cuda.is_some())
                .map(move |v| format!("{}+{}", r.version, v.name))
        })
        .collect();
    prop_oneof![
        3 => select(releases.clone()),
        3 => select(builds),
        2 => select(releases.clone()).prop_map(|v| format!(">={v}")),
        2 => select(releases).prop_map(|v| format!("<={v}")),
        1 => Just("2.9".to_owned()),
        1 => Just(">=2.16".to_owned()),
    ]
}

fn packages() -> impl Strategy<Value = Vec<Package>> {
    const SOME: &[&str] = &[
        "torchvision",
        "torchvision==0.23.0",
        "torchvision==0.15.2",
        "torchvision>=0.24",
        "torchaudio",
        "torchaudio==2.11.0",
        "xformers",
        "xformers==0.0.30",
        "vllm",
        "vllm>=0.11",
        "bitsandbytes",
        "bitsandbytes<0.45",
        "flash-attn",
        "flash-attn==2.8.3",
        "triton",
        "torchcodec",
        "numpy>=2",
        "einops",
    ];
    weighted(0.45, subsequence(SOME, 1..=2)).prop_map(|list| {
        let mut seen = BTreeSet::new();
        list.unwrap_or_default()
            .into_iter()
            .map(parse::<Package>)
            .filter(|p| seen.insert(p.name.clone()))
            .collect()
    })
}

fn target(name: &'static str) -> impl Strategy<Value = Target> {
    let platform = prop_oneof![9 => Just(None), 2 => Just(Some(Platform::LinuxAmd64)), 2 => Just(Some(Platform::LinuxArm64)), 1 => Just(Some(Platform::WindowsAmd64))];
    let os = weighted(
        0.2,
        select(vec!["ubuntu22.04", "ubuntu18.04", "debian12", "glibc:2.17", "glibc:2.28", "musl"]),
    );
    let module = weighted(0.06, select(vec![KernelModule::Open, KernelModule::Proprietary]));
    (btree_set(cards(), 0..=2), weighted(0.6, driver()), platform, os, module).prop_map(
        move |(gpus, driver, platform, os, kernel_module)| Target {
            name: name.into(),
            gpus: gpus.into_iter().collect(),
            driver: driver.as_deref().map(parse),
            platform,
            os: os.map(str::to_owned),
            kernel_module,
            line: None,
            todo: Vec::new(),
        },
    )
}

fn targets(most: usize) -> impl Strategy<Value = Vec<Target>> {
    (target("a"), weighted(0.3, target("b")))
        .prop_map(move |(a, b)| [Some(a), b].into_iter().flatten().take(most).collect())
}

/// Problems of at most so many targets.
fn problems(most: usize) -> impl Strategy<Value = Problem> {
    let python = weighted(
        0.35,
        select(vec!["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.13t", "3.14", ">=3.10,<3.13"]),
    );
    let cuda = weighted(0.15, select(vec!["12.6", ">=12.6", "cu118", "<13", ">=13"]));
    let needs = subsequence(vec![Need::Compile, Need::Nvcc, Need::Fp8, Need::Nccl], 0..=1);
    let prefer = prop_oneof![5 => Just(Prefer::Newest), 1 => Just(Prefer::Stable), 1 => Just(Prefer::OldestDriver), 1 => Just(Prefer::Smallest)];
    let allow = [0.2, 0.15, 0.2].map(proptest::bool::weighted);
    (weighted(0.5, torch()), python, cuda, packages(), needs, prefer, allow, targets(most))
        .prop_map(
            |(
                torch,
                python,
                cuda,
                with,
                needs,
                prefer,
                [ptx, forward_compat, unofficial],
                targets,
            )| {
                let wanted = Requirements {
                    torch: torch.as_deref().map(parse),
                    python: python.map(parse),
                    cuda: cuda.map(parse),
                    with,
                    needs: needs.into_iter().collect(),
                    prefer,
                    allow: Allow { ptx, forward_compat, unofficial },
                    targets,
                    ..Requirements::default()
                };
                Problem::place(&wanted, &MATRIX).unwrap()
            },
        )
}

/// A problem as a story, for the message of a failure.
fn tell(problem: &Problem) -> String {
    let mut text = format!(
        "torch {:?} python {:?} cuda {:?} with {:?} needs {:?} prefer {:?} allow {:?}",
        problem.torch.as_ref().map(|t| &t.given),
        problem.python.as_ref().map(ToString::to_string),
        problem.cuda.as_ref().map(|c| &c.given),
        problem.with.iter().map(|p| &p.given).collect::<Vec<_>>(),
        problem.needs,
        problem.prefer,
        problem.allow.words(),
    );
    for pool in &problem.targets {
        let _ = write!(
            text,
            "\n  {}: gpus {:?} driver {:?} platform {:?} os {:?} module {:?}",
            pool.name,
            pool.gpus.iter().map(|g| &g.given).collect::<Vec<_>>(),
            pool.driver.as_ref().map(|d| d.spec.to_string()),
            pool.platform.map(|p| p.to_string()),
            pool.libc.as_ref().map(|l| &l.given),
            pool.module,
        );
    }
    text
}

fn builds(resolution: &Resolution) -> Vec<String> {
    resolution
        .stacks
        .iter()
        .map(|s| format!("{}+{} on {}", s.torch, s.variant, s.platform))
        .collect()
}

/// Oldest drivers of the table that are newer, and that still drive all cards of the pool.
fn newer(pool: &Pool) -> Vec<DriverVersion> {
    let Some(old) = pool
        .driver
        .as_ref()
        .filter(|d| matches!(d.spec, DriverSpec::Oldest(_)))
        .and_then(|d| d.oldest)
    else {
        return Vec::new();
    };
    let ceiling =
        pool.gpus.iter().filter_map(|g| MATRIX.generation(g.capability)?.last_branch).min();
    drivers()
        .iter()
        .map(|d| parse::<DriverVersion>(d))
        .filter(|d| !d.is_bare_branch() && *d > old && ceiling.is_none_or(|last| d.branch <= last))
        .collect()
}

#[test]
fn a_newer_driver_below_the_ceiling_removes_nothing() {
    // With forward compatibility it may: cuda-compat stands on 535, and no longer on 550.
    run(220, &(problems(2), any::<proptest::sample::Index>()), |(mut problem, pick)| {
        problem.allow.forward_compat = false;
        let Some(before) = solves(&problem, &MATRIX) else { return Ok(()) };
        for at in 0..problem.targets.len() {
            let choice = newer(&problem.targets[at]);
            if choice.is_empty() {
                continue;
            }
            let driver = *pick.get(&choice);
            let mut raised = problem.clone();
            raised.targets[at].driver =
                Some(Driver::place(DriverSpec::Oldest(driver), &MATRIX).unwrap());
            prop_assert!(
                solves(&raised, &MATRIX).is_some(),
                "{:?} is lost with driver {driver} for target {at} of\n{}",
                builds(&before),
                tell(&problem)
            );
        }
        Ok(())
    });
}

#[test]
fn a_card_less_removes_nothing() {
    // With forward compatibility it may: without a card nobody knows whether it is entitled.
    run(220, &problems(2), |mut problem| {
        problem.allow.forward_compat = false;
        for pool in &mut problem.targets {
            // A card may decide on the platform; that decision stays.
            pool.platform = Some(pool.platform());
        }
        let Some(before) = solves(&problem, &MATRIX) else { return Ok(()) };
        for at in 0..problem.targets.len() {
            for card in 0..problem.targets[at].gpus.len() {
                let mut fewer = problem.clone();
                let gone = fewer.targets[at].gpus.remove(card);
                prop_assert!(
                    solves(&fewer, &MATRIX).is_some(),
                    "{:?} is lost without {} in\n{}",
                    builds(&before),
                    gone.given,
                    tell(&problem)
                );
            }
        }
        Ok(())
    });
}

/// The stack as somebody would type it after `check`: torch, its companions, and what torch pins.
fn retyped(problem: &Problem, pool: &Pool, stack: &Stack) -> Case {
    let label = if stack.from_pypi { String::new() } else { format!("+{}", stack.variant) };
    let with = stack.packages.iter().filter(|p| p.name != "torch").map(|pin| {
        let local = pin.local.as_ref().map_or(String::new(), |l| format!("+{l}"));
        let version = match (&pin.version, &pin.specifier) {
            (Some(version), _) => format!("=={version}{local}"),
            (None, Some(specifier)) => specifier.clone(),
            (None, None) => String::new(),
        };
        parse(&format!("{}{version}", pin.name))
    });
    Case {
        torch: Some(parse(&format!("{}{label}", stack.torch))),
        gpus: pool.gpus.clone(),
        driver: pool.driver.clone(),
        python: Some(stack.python),
        libc: pool.libc.clone(),
        platform: Some(stack.platform),
        with: with.collect(),
        module: pool.module,
        allow_forward_compat: problem.allow.forward_compat,
        compiles: problem.needs.contains(&Need::Compile),
        ..Case::default()
    }
}

#[test]
fn what_is_resolved_is_accepted_by_check() {
    run(220, &problems(2), |problem| {
        let Some(resolution) = solves(&problem, &MATRIX) else { return Ok(()) };
        prop_assert_eq!(resolution.stacks.len(), problem.targets.len());
        let release = resolution.stacks[0].torch;
        for (pool, stack) in problem.targets.iter().zip(&resolution.stacks) {
            prop_assert_eq!(stack.torch, release, "one torch for all targets");
            prop_assert!(
                problem.torch.as_ref().is_none_or(|t| t.versions.contains(&stack.torch.pep440()))
            );
            prop_assert!(
                problem.torch.as_ref().and_then(|t| t.variant).is_none_or(|v| v == stack.variant)
            );
            prop_assert!(problem.python.as_ref().is_none_or(|p| p.admits(stack.python)));
            prop_assert!(problem.cuda.as_ref().is_none_or(|c| c.admits(stack.cuda)));
            let case = retyped(&problem, pool, stack);
            let judgement = judge(&case, &MATRIX);
            let fine = judgement.verdict == Code::Ok
                || (problem.allow.ptx && judgement.verdict == Code::OkViaPtxJit);
            let why = judgement.findings.first().map(|f| f.message.as_str());
            prop_assert!(
                fine,
                "{}: {why:?}\n{} with {:?} for\n{}",
                judgement.verdict,
                builds(&resolution).join(", "),
                case.with.iter().map(|p| &p.given).collect::<Vec<_>>(),
                tell(&problem)
            );
            prop_assert_eq!(judgement.driver, stack.driver.clone());
        }
        Ok(())
    });
}

/// Not random: each build of each release, for each of its platforms and Pythons. What is pinned has a
/// file there, or is not pinned.
#[test]
fn every_build_on_every_python_is_accepted_by_check() {
    let mut wrong = Vec::new();
    let mut asked = 0;
    for release in &MATRIX.releases {
        for variant in release.variants.iter().filter(|v| v.cuda.is_some()) {
            for platform in variant.builds.iter().map(|b| b.platform) {
                let here = release.wheels.iter().filter(|w| w.platform == Some(platform));
                let tags: BTreeSet<_> = here.flat_map(|w| &w.python).collect();
                for (minor, free_threaded) in (7..=16).flat_map(|m| [(m, false), (m, true)]) {
                    let python: PythonVersion =
                        parse(&format!("3.{minor}{}", if free_threaded { "t" } else { "" }));
                    if !tags.iter().any(|tag| tag.admits(python)) {
                        continue;
                    }
                    let name = format!("{}+{}", release.version, variant.name);
                    let pool = Target {
                        name: "a".into(),
                        gpus: Vec::new(),
                        driver: None,
                        platform: Some(platform),
                        os: None,
                        kernel_module: None,
                        line: None,
                        todo: Vec::new(),
                    };
                    let wanted = Requirements {
                        torch: Some(parse(&name)),
                        python: Some(PythonWish::Exact(python)),
                        allow: Allow { unofficial: true, ..Allow::default() },
                        targets: vec![pool],
                        ..Requirements::default()
                    };
                    let problem = Problem::place(&wanted, &MATRIX).unwrap();
                    asked += 1;
                    let Some(resolution) = solves(&problem, &MATRIX) else {
                        wrong.push(format!("{name} for {platform} on Python {python}: no answer"));
                        continue;
                    };
                    let judgement = judge(
                        &retyped(&problem, &problem.targets[0], &resolution.stacks[0]),
                        &MATRIX,
                    );
                    if judgement.verdict != Code::Ok {
                        let why = judgement.findings.first().map_or("", |f| f.message.as_str());
                        wrong.push(format!(
                            "{name} for {platform} on Python {python}: {}: {why}",
                            judgement.verdict
                        ));
                    }
                }
            }
        }
    }
    assert!(asked > 500, "only {asked} builds were asked");
    assert!(wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong.join("\n"));
}

/// `2.8.0+cu126` of `take torch 2.8.0+cu126 for all targets`.
fn build_of(alternative: &Alternative) -> String {
    alternative
        .change
        .split_whitespace()
        .find(|word| word.contains('+'))
        .unwrap_or_else(|| panic!("{}", alternative.change))
        .to_owned()
}

#[test]
fn every_alternative_solves_when_pinned() {
    run(60, &problems(2), |problem| {
        let Outcome::Solved(resolution) = resolve(&problem, &MATRIX) else { return Ok(()) };
        for (at, stack) in resolution.stacks.iter().enumerate() {
            prop_assert!(stack.alternatives.len() <= 3);
            for alternative in &stack.alternatives {
                let build = build_of(alternative);
                prop_assert_ne!(
                    &build,
                    &format!("{}+{}", stack.torch, stack.variant),
                    "an alternative is another build"
                );
                let pinned = Problem { torch: Some(parse(&build)), ..problem.only(at) };
                let solved = solves(&pinned, &MATRIX);
                let got = solved
                    .as_ref()
                    .map(|r| format!("{}+{}", r.stacks[0].torch, r.stacks[0].variant));
                prop_assert_eq!(
                    got.as_ref(),
                    Some(&build),
                    "`{}` of\n{}",
                    alternative.change,
                    tell(&problem)
                );
                if let Some(wish) = &problem.torch {
                    let release = solved.unwrap().stacks[0].torch;
                    prop_assert!(
                        wish.versions.contains(&release.pep440()),
                        "{build} is not what was wished for in\n{}",
                        tell(&problem)
                    );
                }
            }
        }
        Ok(())
    });
}

fn explained(outcome: Outcome) -> Option<Explanation> {
    match outcome {
        Outcome::Solved(_) => None,
        Outcome::Unsatisfiable(explanation) | Outcome::Unknown(explanation) => Some(explanation),
    }
}

#[test]
fn every_cure_solves() {
    run(40, &problems(2), |problem| {
        let Some(explanation) = explained(resolve(&problem, &MATRIX)) else { return Ok(()) };
        prop_assert!(solves(&problem, &MATRIX).is_none());
        prop_assert!(explanation.cures.len() <= 3);
        prop_assert!(explanation.cures.is_sorted_by_key(|c| c.cost), "the cheapest first");
        for cure in &explanation.cures {
            prop_assert!(
                solves(&cure.problem, &MATRIX).is_some(),
                "`{}` does not help\n{}",
                cure.change,
                tell(&problem)
            );
        }
        Ok(())
    });
}

#[test]
fn the_same_question_gets_the_same_answer() {
    run(30, &problems(2), |problem| {
        let (first, second) = (resolve(&problem, &MATRIX), resolve(&problem.clone(), &MATRIX));
        prop_assert_eq!(format!("{first:?}"), format!("{second:?}"));
        Ok(())
    });
}

/// Demands of a problem with one target: the words that name each, and the problem without it.
fn without_each(problem: &Problem) -> Vec<(String, Problem)> {
    let mut all = Vec::new();
    let mut put = |words: String, change: &dyn Fn(&mut Problem)| {
        let mut changed = problem.clone();
        change(&mut changed);
        all.push((words, changed));
    };
    if let Some(torch) = &problem.torch {
        put(format!("torch {}", torch.given), &|p| p.torch = None);
    }
    if let Some(cuda) = &problem.cuda {
        put(format!("CUDA {}", cuda.given), &|p| p.cuda = None);
    }
    if let Some(python) = &problem.python {
        put(format!("Python {python}"), &|p| p.python = None);
    }
    if !problem.needs.is_empty() {
        put("needs ".into(), &|p| p.needs.clear());
    }
    for (i, package) in problem.with.iter().enumerate() {
        put(package.given.clone(), &|p| drop(p.with.remove(i)));
    }
    let pool = &problem.targets[0];
    if let Some(libc) = &pool.libc {
        put(format!("os {} ", libc.given), &|p| p.targets[0].libc = None);
    }
    if let Some(driver) = &pool.driver {
        put(format!("driver {} ", driver.spec), &|p| p.targets[0].driver = None);
    }
    if let Some(platform) = pool.platform {
        put(format!("platform {platform} "), &|p| p.targets[0].platform = None);
    }
    if let Some(module) = pool.module {
        put(format!("{module} kernel module "), &|p| p.targets[0].module = None);
    }
    for (i, gpu) in pool.gpus.iter().enumerate() {
        put(format!("gpu {} (", gpu.given), &|p| drop(p.targets[0].gpus.remove(i)));
    }
    all
}

/// The problem with the demands of the clash alone.
fn core(problem: &Problem, clash: &[String]) -> Problem {
    let named = |words: &str| {
        clash.iter().any(|c| c == words || (words.ends_with([' ', '(']) && c.starts_with(words)))
    };
    let mut core = problem.clone();
    while let Some((_, fewer)) = without_each(&core).into_iter().find(|(words, _)| !named(words)) {
        core = fewer;
    }
    core
}

#[test]
fn a_clash_is_real_and_smallest() {
    run(60, &problems(1), |problem| {
        let Some(explanation) = explained(resolve(&problem, &MATRIX)) else { return Ok(()) };
        prop_assert!(!explanation.clash.is_empty(), "nothing clashes in\n{}", tell(&problem));
        let core = core(&problem, &explanation.clash);
        let parts = without_each(&core);
        prop_assert_eq!(
            parts.len(),
            explanation.clash.len(),
            "{:?} names other demands than\n{}",
            explanation.clash,
            tell(&core)
        );
        prop_assert!(
            solves(&core, &MATRIX).is_none(),
            "{:?} does not clash in\n{}",
            explanation.clash,
            tell(&problem)
        );
        // Cards that are built into one kind of machine decide on the platform: without them another
        // question is asked.
        if problem.targets[0].platform.is_none()
            && problem.targets[0].gpus.iter().any(|g| g.host.is_some())
        {
            return Ok(());
        }
        for (words, fewer) in parts {
            prop_assert!(
                solves(&fewer, &MATRIX).is_some(),
                "{:?} clashes without `{words}` as well, in\n{}",
                explanation.clash,
                tell(&problem)
            );
        }
        Ok(())
    });
}

/// The random problems are worth asking: enough of them solve, and enough do not.
#[test]
fn random_problems_are_of_both_kinds() {
    let (solved, asked) = (std::cell::Cell::new(0u32), std::cell::Cell::new(0u32));
    run(150, &problems(2), |problem| {
        asked.set(asked.get() + 1);
        solved.set(solved.get() + u32::from(solves(&problem, &MATRIX).is_some()));
        Ok(())
    });
    let share = f64::from(solved.get()) / f64::from(asked.get());
    assert!((0.2..0.9).contains(&share), "{} of {} problems solve", solved.get(), asked.get());
}
