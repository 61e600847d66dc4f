//! One YAML file of `matrices/`, or an overlay, taken apart row by row, so that each bad row is named.
//!
//! Every file has the one shape of [`RawFile`] and fills some of its tables; which file a row stands in
//! is for the reader's convenience. The text becomes a value first, and the value rows: the reader of
//! YAML is large, and would otherwise be there once for every kind of row.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::raw::{
    RawBranch, RawCodeRule, RawCompanion, RawCompanionRule, RawCompiler, RawCudaImage, RawCudnn,
    RawCudnnCode, RawCudnnDocumented, RawDistro, RawFirstListed, RawForwardCompat, RawGeneration,
    RawGpu, RawHeader, RawImageRequirement, RawListedByPackage, RawMessage, RawMinorCompat,
    RawNote, RawPage, RawPythonImage, RawPytorchImage, RawRelease, RawSource, RawThroughput,
    RawToolkit, RawToolkitPackages, RawUvImage,
};

/// Takes a bad row: its table and key, and what is wrong.
pub type Refused<'a> = dyn FnMut(String, String) + 'a;

macro_rules! file {
    ($($table:ident: $row:ty,)+) => {
        /// One YAML file: any of the sections, in any order.
        #[derive(Debug, Default)]
        pub struct RawFile {
            pub matrix: Option<RawHeader>,
            pub sources: BTreeMap<String, RawSource>,
            $(pub $table: Vec<$row>,)+
        }

        impl RawFile {
            /// Takes a document apart, row by row, so that each bad row is named.
            pub fn of(document: Value, refused: &mut Refused<'_>) -> Self {
                let mut file = Self::default();
                let tables = match document {
                    Value::Object(tables) => tables,
                    Value::Null => return file,
                    _ => {
                        refused("the file".into(), "expected tables, as in `gpus:`".into());
                        return file;
                    }
                };
                for (table, rows) in tables {
                    match table.as_str() {
                        "matrix" => file.matrix = row("matrix".into(), rows, refused),
                        "sources" => file.sources = sources(rows, refused),
                        $(stringify!($table) => {
                            file.$table = list(stringify!($table), rows, refused);
                        })+
                        other => {
                            let known: &[&str] = &["matrix", "sources", $(stringify!($table)),+];
                            let known = known.join(", ");
                            refused("the file".into(), format!("unknown table `{other}`, expected one of {known}"));
                        }
                    }
                }
                file
            }
        }
    };
}

file! {
    torch: RawRelease,
    gpus: RawGpu,
    throughput: RawThroughput,
    generations: RawGeneration,
    code_rules: RawCodeRule,
    branches: RawBranch,
    first_listed: RawFirstListed,
    listed_by_package: RawListedByPackage,
    toolkits: RawToolkit,
    toolkit_packages: RawToolkitPackages,
    compilers: RawCompiler,
    minor_compat: RawMinorCompat,
    forward_compat: RawForwardCompat,
    cudnn: RawCudnn,
    cudnn_code: RawCudnnCode,
    cudnn_documented: RawCudnnDocumented,
    cuda_images: RawCudaImage,
    image_requirements: RawImageRequirement,
    pytorch_images: RawPytorchImage,
    python_images: RawPythonImage,
    uv_images: RawUvImage,
    distros: RawDistro,
    companions: RawCompanion,
    companion_rules: RawCompanionRule,
    messages: RawMessage,
    pages: RawPage,
    notes: RawNote,
}

/// The rows of a table.
fn list<T: DeserializeOwned>(table: &str, rows: Value, refused: &mut Refused<'_>) -> Vec<T> {
    let rows = match rows {
        Value::Array(rows) => rows,
        Value::Null => Vec::new(),
        _ => {
            refused(table.into(), "expected rows, each with a dash before it".into());
            Vec::new()
        }
    };
    rows.into_iter()
        .enumerate()
        .filter_map(|(at, columns)| row(named(table, at, &columns), columns, refused))
        .collect()
}

fn sources(rows: Value, refused: &mut Refused<'_>) -> BTreeMap<String, RawSource> {
    let rows = match rows {
        Value::Object(rows) => rows,
        Value::Null => return BTreeMap::new(),
        _ => {
            refused("sources".into(), "expected keys, as in `gpus.list:`".into());
            return BTreeMap::new();
        }
    };
    let mut sources = BTreeMap::new();
    for (key, columns) in rows {
        if let Some(source) = row(format!("sources {key}"), columns, refused) {
            sources.insert(key, source);
        }
    }
    sources
}

fn row<T: DeserializeOwned>(name: String, columns: Value, refused: &mut Refused<'_>) -> Option<T> {
    match serde_json::from_value(columns) {
        Ok(row) => Some(row),
        Err(err) => {
            let message = err.to_string();
            let bare = message.contains("expected a string") && !message.contains("null");
            refused(name, if bare { format!("{message}: quote it") } else { message });
            None
        }
    }
}

/// A row by its first column that names one, or by its place in the file.
fn named(table: &str, at: usize, columns: &Value) -> String {
    let key = [
        "id", "version", "name", "branch", "code", "cuda", "package", "tag", "key", "image",
        "topic",
    ]
    .iter()
    .find_map(|key| columns.get(key)?.as_str());
    match key {
        Some(key) => format!("{table} {}", crate::domain::shown(key)),
        None => format!("{table}, row {}", at + 1),
    }
}
