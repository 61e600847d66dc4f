//! A lock made offline, with every file and digest filled in as an index and a registry of nobody's would
//! tell them: the same ones every time.

use std::path::Path;

use toml::{Table, Value};

/// 64 hexadecimal digits that follow from a text.
fn digest(of: &str) -> Value {
    gpuseal::domain::Sha256::of(of.as_bytes()).to_string().into()
}

/// Fills the lock of a project.
pub(crate) fn fill(project: &Path) {
    let path = project.join("gpuseal.lock");
    let text = fs_err::read_to_string(&path).expect("a lock");
    let mut lock: Table = text.parse().expect("TOML");
    for target in lock["target"].as_array_mut().expect("targets") {
        let target = target.as_table_mut().expect("a table");
        let base = target["base"].as_table_mut().expect("a table");
        for (key, of) in
            [("digest", "tag"), ("builder_digest", "builder_tag"), ("uv_digest", "uv_tag")]
        {
            if let Some(tag) = base.get(of).and_then(Value::as_str).map(digest) {
                base.insert(key.into(), tag);
            }
        }
        for package in target["package"].as_array_mut().expect("packages") {
            fill_package(package.as_table_mut().expect("a table"));
        }
    }
    fs_err::write(&path, toml::to_string(&lock).expect("TOML")).expect("a file");
}

fn fill_package(package: &mut Table) {
    package.entry("version").or_insert_with(|| "1.0".into());
    package.remove("specifier");
    let text = |key: &str| package.get(key).and_then(Value::as_str);
    let local = text("local").map_or(String::new(), |local| format!("+{local}"));
    let (name, version) = (text("name").expect("a name"), text("version").expect("one"));
    let compiled = package.get("source_build").and_then(Value::as_bool) == Some(true);
    let end = if compiled { ".tar.gz" } else { "-py3-none-any.whl" };
    let file = format!("{}-{version}{local}{end}", name.replace('-', "_"));
    let path = format!("https://files.example.org/{}", file.replace('+', "%2B"));
    let hash = digest(&path);
    for (key, value) in [
        ("path", path.into()),
        ("file", file.into()),
        ("hash", hash),
        ("origin", "index".into()),
        ("size", 1000.into()),
    ] {
        package.insert(key.into(), value);
    }
}
