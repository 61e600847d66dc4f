//! Puts copies of the library of `tests/fakes` where a program finds them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The library as cargo built it beside the tests.
pub(crate) fn built() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_gpuseal"));
    let folder = program.parent().expect("a folder").join("examples");
    let name = format!("{}fakes{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let file = folder.join(name);
    assert!(file.is_file(), "{} is missing: `cargo build --examples` makes it", file.display());
    file
}

/// The part of it that is loaded: what stands behind, for debuggers, is thirty times as much.
fn loaded() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let mut bytes = fs_err::read(built()).expect("the library");
        let number = |at: usize, length: usize| {
            let mut eight = [0; 8];
            eight[..length].copy_from_slice(&bytes[at..at + length]);
            usize::try_from(u64::from_le_bytes(eight)).expect("a place in the file")
        };
        // Of a segment: its type, of which 1 is loaded, where it begins, and its length.
        let segments = (0..number(56, 2)).map(|segment| number(32, 8) + segment * number(54, 2));
        let ends = segments.filter(|at| number(*at, 4) == 1);
        let end = ends.map(|at| number(at + 8, 8) + number(at + 32, 8)).max().expect("segments");
        bytes.truncate(end);
        bytes
    })
}

/// Copies it into a folder under these names. Copies and no links: the loader takes one file for one library.
pub(crate) fn place(folder: &Path, names: &[&str]) {
    fs_err::create_dir_all(folder).expect("a folder");
    for name in names {
        fs_err::write(folder.join(name), loaded()).expect("a file");
    }
}

/// The same without some of its functions: their names are spoiled in the file.
pub(crate) fn place_without(folder: &Path, name: &str, missing: &[&str]) {
    let mut bytes = loaded().to_vec();
    for function in missing {
        let (from, mut to) = ([b"\0", function.as_bytes(), b"\0"].concat(), Vec::new());
        to.extend(&from);
        to[1] = b'_';
        let mut found = false;
        while let Some(at) = bytes.windows(from.len()).position(|window| window == from) {
            bytes[at..at + to.len()].copy_from_slice(&to);
            found = true;
        }
        assert!(found, "the library has no {function}");
    }
    fs_err::create_dir_all(folder).expect("a folder");
    fs_err::write(folder.join(name), bytes).expect("a file");
}
