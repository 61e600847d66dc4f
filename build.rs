//! Checks `matrices/` and packs it, so that the program starts without reading YAML; packs `kernels/`.
//!
//! The rooms it needs are compiled in as they are: one reader, one set of checks.
#![allow(dead_code, unreachable_pub, missing_docs, unused_imports, clippy::pedantic)]

use std::io::Write as _;
use std::path::{Path, PathBuf};

#[path = "src/domain/mod.rs"]
mod domain;
#[path = "src/yaml.rs"]
mod yaml;

#[path = "src/matrix"]
mod matrix {
    pub mod check;
    pub mod file;
    pub mod model;
    pub mod raw;
    pub mod words;
    pub use model::Matrix;
}

fn main() {
    println!("cargo::rerun-if-changed=matrices");
    println!("cargo::rerun-if-changed=src/domain");
    println!("cargo::rerun-if-changed=src/matrix");
    println!("cargo::rerun-if-changed=src/yaml.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let root = Path::new("matrices");
    let mut paths = Vec::new();
    collect(root, &mut paths);
    paths.sort();
    let mut inputs = Vec::new();
    for path in paths {
        let name =
            path.strip_prefix(root).expect("below matrices").to_string_lossy().replace('\\', "/");
        let text = std::fs::read_to_string(&path).expect("a readable file");
        inputs.push(matrix::check::Input { name, text });
    }
    inputs.sort_by(|a, b| a.name.cmp(&b.name));
    let built = match matrix::check::build(&inputs, &[]) {
        Ok(built) => built,
        Err(faults) => {
            for fault in &faults {
                println!("cargo::error=matrices/{}", fault.to_string().replace('\n', " "));
            }
            // Cargo has printed them; the program itself is not built on a bad matrix.
            std::process::exit(1);
        }
    };
    let words = built.words.get().expect("a matrix that was built has its words");
    let words = postcard::to_allocvec(words).expect("every row can be packed");
    postcard::from_bytes::<matrix::words::Words>(&words).expect("what was packed can be read");
    std::fs::write(out.join("words.bin"), deflated(&words)).expect("OUT_DIR is writable");
    let packed = postcard::to_allocvec(&built).expect("every row can be packed");
    postcard::from_bytes::<matrix::model::Matrix>(&packed).expect("what was packed can be read");
    std::fs::write(out.join("matrix.bin"), packed).expect("OUT_DIR is writable");
    // The texts themselves are wanted for overlays alone, and are nine tenths white space and keys.
    let files: Vec<(&str, &str)> =
        inputs.iter().map(|i| (i.name.as_str(), i.text.as_str())).collect();
    let files = postcard::to_allocvec(&files).expect("texts can be packed");
    std::fs::write(out.join("matrix_files.bin"), deflated(&files)).expect("OUT_DIR is writable");
    std::fs::write(out.join("kernels.bin"), deflated(&kernels())).expect("OUT_DIR is writable");
}

/// What a driver loads, by its name.
fn kernels() -> Vec<u8> {
    println!("cargo::rerun-if-changed=kernels");
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for entry in std::fs::read_dir("kernels").expect("kernels/ is readable") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.ends_with(".ptx") || name.ends_with(".cubin") {
            files.push((name, std::fs::read(&path).expect("a readable file")));
        }
    }
    files.sort();
    postcard::to_allocvec(&files).expect("bytes can be packed")
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("matrices/ is readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|e| e == "yaml") {
            paths.push(path);
        }
    }
}
