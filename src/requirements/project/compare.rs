//! Whether two lines can hold together: versions, builds, and whether they are in force together at all.

use pep440_rs::Version;
use version_ranges::Ranges;

use super::answers::Said;
use super::demand::{Choice, Demand, PythonSaid, ranges};
use crate::domain::{Place, WheelVariant};

/// A demand with what comparing it takes, made once.
#[derive(Debug)]
pub struct Ranged<'a> {
    /// The demand.
    pub demand: &'a Demand,
    /// Its versions, without labels.
    pub ranges: Ranges<Version>,
    label: Option<WheelVariant>,
}

impl<'a> Ranged<'a> {
    /// Of a demand.
    pub fn of(demand: &'a Demand) -> Self {
        Self { demand, ranges: demand.ranges(), label: demand.label() }
    }

    /// Whether no version, or no build, answers both in some environment that both apply to.
    pub fn contradicts(&self, other: &Self) -> bool {
        let (a, b) = (self.demand, other.demand);
        let apart = matches!((self.label, other.label), (Some(x), Some(y)) if x != y);
        a.name == b.name
            && (apart || self.ranges.intersection(&other.ranges).is_empty())
            && a.marker.meets(&b.marker)
    }
}

/// Whether no version, or no build, answers both demands in some environment that both apply to.
pub fn contradict(a: &Demand, b: &Demand) -> bool {
    a.name == b.name && Ranged::of(a).contradicts(&Ranged::of(b))
}

/// Whether two lines can be in force together: both always are, or they are of one option, or one is
/// of an option of the very package that the other always belongs to.
///
/// Files beside each other are ways to install, and what another manager says of its environment
/// (conda, pixi, a Dockerfile) says nothing about an option of the package.
pub fn meet(a: &impl Line, b: &impl Line) -> bool {
    match (a.choice(), b.choice()) {
        (None, None) => true,
        (Some(Choice::Extra(_) | Choice::Group(_)), None)
        | (None, Some(Choice::Extra(_) | Choice::Group(_))) => {
            let (a, b) = (a.place(), b.place());
            a.file == b.file || is_metadata(a) && is_metadata(b)
        }
        (None, _) | (_, None) => false,
        (a, b) => a == b,
    }
}

/// Whether a line stands in the metadata of a package.
fn is_metadata(place: &Place) -> bool {
    let file = place.file.rsplit('/').next().unwrap_or_default();
    ["pyproject.toml", "setup.cfg", "setup.py", "gpuseal.yaml"].contains(&file)
}

/// Something that stands on a line, for one option or for all.
pub trait Line {
    /// The option.
    fn choice(&self) -> Option<&Choice>;
    /// The line.
    fn place(&self) -> &Place;
}

macro_rules! lines {
    ($($type:ty),+) => {$(
        impl Line for $type {
            fn choice(&self) -> Option<&Choice> {
                self.choice.as_ref()
            }
            fn place(&self) -> &Place {
                &self.place
            }
        }
    )+};
}
lines!(Demand, PythonSaid);

impl Line for Said<'_> {
    fn choice(&self) -> Option<&Choice> {
        self.choice
    }
    fn place(&self) -> &Place {
        self.place
    }
}

/// Whether two demands name different builds.
pub fn builds_differ(a: &Demand, b: &Demand) -> bool {
    let variant = |demand: &Demand| demand.variants().first().map(|(_, variant)| *variant);
    matches!((variant(a), variant(b)), (Some(x), Some(y)) if x != y) && a.marker.meets(&b.marker)
}

/// Whether no Python answers both.
pub fn pythons_contradict(a: &PythonSaid, b: &PythonSaid) -> bool {
    ranges(&a.versions).intersection(&ranges(&b.versions)).is_empty()
}
