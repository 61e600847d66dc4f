//! What runs or builds the images: data that machines read, from typed structs.

use super::{Error, Kind, Options};
use crate::lock::{Lockfile, Target};

/// Renders a kind that is YAML or JSON.
pub(super) fn render(
    kind: Kind,
    lock: &Lockfile,
    targets: &[&Target],
    options: &Options<'_>,
) -> Result<String, Error> {
    let _ = (kind, lock, targets, options);
    unimplemented!()
}
