//! The modules of `kernels/`, as the build script packed them: PTX text, and a cubin for each generation.

use std::io::Read as _;

use crate::domain::{CodeTarget, ComputeCapability};
use crate::matrix::Matrix;

static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernels.bin"));

/// All of them, by name: `simt.ptx`, `simt.sm_90.cubin`.
pub(super) struct Images(Vec<(String, Vec<u8>)>);

impl Images {
    /// Unpacks them.
    ///
    /// # Panics
    /// Never: the build script packed them.
    pub(super) fn unpacked() -> Self {
        let mut bytes = Vec::new();
        flate2::read::ZlibDecoder::new(PACKED).read_to_end(&mut bytes).expect("deflated");
        let mut files: Vec<(String, Vec<u8>)> = postcard::from_bytes(&bytes).expect("packed");
        for (name, text) in &mut files {
            // The driver reads PTX up to a zero.
            if name.strip_suffix(".ptx").is_some() {
                text.push(0);
            }
        }
        Self(files)
    }

    /// PTX of a family, with a zero at its end.
    ///
    /// # Panics
    /// Never for a family of ours.
    pub(super) fn ptx(&self, family: &str) -> &[u8] {
        let name = format!("{family}.ptx");
        &self.0.iter().find(|(file, _)| *file == name).expect("PTX of a family").1
    }

    /// Which virtual architecture the PTX of a family is written for, and its version: `compute_50`, `6.0`.
    pub(super) fn written_for(&self, family: &str) -> (CodeTarget, String) {
        let text = String::from_utf8_lossy(self.ptx(family));
        let word = |directive| {
            let line = text.lines().find_map(|line| line.strip_prefix(directive));
            line.expect("a directive that every PTX has").trim().to_owned()
        };
        let target: CodeTarget = word(".target").parse().expect("a target");
        (CodeTarget { ptx: true, ..target }, word(".version"))
    }

    /// The machine code of a family that a device runs: of several the nearest.
    pub(super) fn cubin(
        &self,
        family: &str,
        device: ComputeCapability,
        matrix: &Matrix,
    ) -> Option<(CodeTarget, &[u8])> {
        let all = self.0.iter().filter_map(|(name, bytes)| {
            let (of, rest) = name.split_once('.')?;
            let target: CodeTarget = rest.strip_suffix(".cubin")?.parse().ok()?;
            (of == family && matrix.runs(target, device)).then_some((target, bytes.as_slice()))
        });
        all.max_by_key(|(target, _)| target.capability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Sha256;

    #[test]
    fn each_device_gets_the_nearest_machine_code_of_its_generation() {
        let (images, matrix) = (Images::unpacked(), Matrix::embedded());
        let name = |family, device: &str| {
            let found = images.cubin(family, device.parse().expect("a capability"), &matrix);
            found.map(|(target, _)| target.to_string())
        };
        for (device, simt, mma) in [
            ("3.5", None, None),
            ("5.0", Some("sm_50"), None),
            ("6.1", Some("sm_60"), None),
            ("7.0", Some("sm_70"), None),
            ("7.5", Some("sm_75"), None),
            ("8.0", Some("sm_80"), Some("sm_80")),
            ("8.9", Some("sm_80"), Some("sm_80")),
            // Orin is another machine than the cards of its generation.
            ("8.7", None, None),
            ("9.0", Some("sm_90"), Some("sm_90")),
            ("10.3", Some("sm_100"), Some("sm_100")),
            ("12.1", Some("sm_120"), Some("sm_120")),
            ("13.0", None, None),
        ] {
            assert_eq!(name("simt", device).as_deref(), simt, "{device}");
            assert_eq!(name("mma", device).as_deref(), mma, "{device}");
        }
    }

    #[test]
    fn ptx_is_old_enough_for_every_driver_of_its_devices() {
        let images = Images::unpacked();
        let told = |family| {
            let (target, version) = images.written_for(family);
            format!("{target} {version}")
        };
        assert_eq!(
            (told("simt").as_str(), told("mma").as_str()),
            ("compute_50 6.0", "compute_80 7.0")
        );
        let ptx = images.ptx("simt");
        assert_eq!(ptx.iter().position(|byte| *byte == 0), Some(ptx.len() - 1));
    }

    #[test]
    fn what_is_packed_is_what_was_made_of_the_sources() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
        let sums = fs_err::read_to_string(folder.join("SHA256SUMS")).expect("hashes");
        let listed: Vec<(&str, &str)> =
            sums.lines().filter_map(|line| line.split_once("  ")).collect();
        for (sum, name) in &listed {
            let bytes = fs_err::read(folder.join(name)).expect("a file");
            let found = Sha256::of(&bytes);
            assert_eq!(*sum, found.hex(), "{name}: `scripts/kernels` makes it and its hash");
        }
        for (name, _) in &Images::unpacked().0 {
            assert!(listed.iter().any(|(_, listed)| listed == name), "{name} has no hash");
        }
    }
}
