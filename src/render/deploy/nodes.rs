//! Which machines of a cluster run a target: its cards, and the drivers that it starts on.
//!
//! Labels are those of NVIDIA's GPU feature discovery, without the deprecated `cuda.driver.major`. Never
//! `gpu.product`: sharing and MIG change it, and code depends on the capability alone.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::domain::{DriverVersion, Gather as _};
use crate::lock::{Mode, Target};
use crate::yaml::FlowSeq;

const GPU_MAJOR: &str = "nvidia.com/gpu.compute.major";
const GPU_MINOR: &str = "nvidia.com/gpu.compute.minor";
const DRIVER: &str = "nvidia.com/cuda.driver-version.major";
const DRIVER_MINOR: &str = "nvidia.com/cuda.driver-version.minor";
const DRIVER_REVISION: &str = "nvidia.com/cuda.driver-version.revision";

/// Machines of which every expression holds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Term {
    match_expressions: Vec<Expression>,
}

#[derive(Serialize, Clone)]
struct Expression {
    key: &'static str,
    operator: &'static str,
    values: FlowSeq<Vec<String>>,
}

impl Expression {
    fn within<T: ToString>(key: &'static str, values: impl IntoIterator<Item = T>) -> Self {
        let values = values.into_iter().map(|value| value.to_string()).collect();
        Self { key, operator: "In", values: FlowSeq(values) }
    }

    fn above(key: &'static str, value: u16) -> Self {
        Self { key, operator: "Gt", values: FlowSeq(vec![value.to_string()]) }
    }

    fn below(key: &'static str, value: u16) -> Self {
        Self { key, operator: "Lt", values: FlowSeq(vec![value.to_string()]) }
    }
}

/// Terms of which one has to hold: each generation of cards with each way to be new enough a driver.
pub(super) fn terms(target: &Target) -> Vec<Term> {
    let (cards, drivers) = (cards(target), drivers(target));
    let pairs = cards.iter().flat_map(|card| drivers.iter().map(move |driver| (card, driver)));
    pairs
        .map(|(card, driver)| Term { match_expressions: [&card[..], &driver[..]].concat() })
        .collect()
}

/// One conjunction for each major capability.
fn cards(target: &Target) -> Vec<[Expression; 2]> {
    let mut minors: BTreeMap<u8, BTreeSet<u8>> = BTreeMap::new();
    for gpu in &target.gpus {
        minors.entry(gpu.capability.major).or_default().insert(gpu.capability.minor);
    }
    minors
        .into_iter()
        .map(|(major, minors)| {
            [Expression::within(GPU_MAJOR, [major]), Expression::within(GPU_MINOR, minors)]
        })
        .collect()
}

/// Lowest driver that runs the image: by cuda-compat alone only where the image holds it.
fn floor(target: &Target) -> Option<DriverVersion> {
    let driver = &target.driver;
    match driver.mode {
        Some(Mode::ForwardCompat) if !target.holds_compat() => driver.native.or(driver.min),
        _ => driver.min,
    }
}

/// The range of drivers as conjunctions, of which one has to hold: `Gt` compares one part of a version.
fn drivers(target: &Target) -> Vec<Vec<Expression>> {
    let last = target.driver.max_branch;
    let mut ways = match floor(target).map(DriverVersion::numbers) {
        None => vec![Vec::new()],
        Some([branch, 0, 0]) => vec![vec![Expression::above(DRIVER, branch - 1)]],
        Some([branch, minor, revision]) => {
            let mut ways = Vec::new();
            if last.is_none_or(|last| last > branch) {
                ways.push(vec![Expression::above(DRIVER, branch)]);
            }
            let this = Expression::within(DRIVER, [branch]);
            if revision == 0 {
                ways.push(vec![this, Expression::above(DRIVER_MINOR, minor - 1)]);
            } else {
                ways.push(vec![this.clone(), Expression::above(DRIVER_MINOR, minor)]);
                ways.push(vec![
                    this,
                    Expression::within(DRIVER_MINOR, [minor]),
                    Expression::above(DRIVER_REVISION, revision - 1),
                ]);
            }
            ways
        }
    };
    if let Some(last) = last {
        for way in &mut ways {
            way.push(Expression::below(DRIVER, last + 1));
        }
    }
    ways
}

/// The same for Dynamic Resource Allocation: expressions in CEL, all of which hold for a device.
pub(super) fn selectors(target: &Target) -> Vec<String> {
    let attribute = |name: &str, test: &str, version: &str| {
        format!(
            "device.attributes[\"gpu.nvidia.com\"].{name}.compareTo(semver(\"{version}\")) {test}"
        )
    };
    let capabilities: BTreeSet<_> = target.gpus.iter().map(|gpu| gpu.capability).gather();
    let cards: Vec<_> = capabilities
        .iter()
        .map(|capability| attribute("cudaComputeCapability", "== 0", &format!("{capability}.0")))
        .collect();
    let mut all = vec![cards.join(" ||\n")];
    if let Some(driver) = floor(target) {
        // Semantic versions have no leading zeros: 580.65.06 is published as 580.65.6.
        let version = driver.numbers().map(|number| number.to_string()).join(".");
        all.push(attribute("driverVersion", ">= 0", &version));
    }
    if let Some(last) = target.driver.max_branch {
        all.push(attribute("driverVersion", "< 0", &format!("{}.0.0", last + 1)));
    }
    all
}
