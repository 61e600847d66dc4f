//! `gpuseal matrix`

use crate::domain::Order as _;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::args::{ChartForm, Format, Global, MatrixCommand};
use super::output::{Output, write_whole};
use super::wanted::flag;
use crate::domain::Platform;
use crate::error::{Error, Exit};
use crate::matrix::{Matrix, Row};
use crate::report::chart::{self, Chart};
use crate::report::json_v1;
use crate::requirements::TorchWish;

/// Runs the command.
///
/// # Errors
/// A matrix that cannot be read.
pub fn run(args: &MatrixCommand, global: &Global, output: &Output) -> Result<Exit, Error> {
    if matches!(output.format, Format::Sarif | Format::Markdown) {
        return Err(Error::Usage {
            message: "the matrix is told as text or JSON".into(),
            help: Some("choose --format human or json".into()),
        });
    }
    let load = || Matrix::load(global.matrix.as_deref(), &global.overlay);
    match args {
        MatrixCommand::Show { row } => show(row.as_deref(), &load()?, output),
        MatrixCommand::List { table } => list(table.as_deref(), &load()?, output),
        MatrixCommand::Diff { old, new } => diff(&named(old)?, &named(new)?, output),
        MatrixCommand::Chart { form, output: file, platform, torch } => {
            let text = chart(*form, platform, torch.as_deref(), &load()?)?;
            match file {
                None => output.data(&text)?,
                Some(file) => {
                    ours(file)?;
                    let wrote = if write_whole(file, &text)? { "wrote" } else { "unchanged:" };
                    output.talk(format!("{wrote} {}", file.display()));
                }
            }
            Ok(Exit::Done)
        }
        MatrixCommand::Check { path } => {
            let path = path.as_deref().or(global.matrix.as_deref());
            check(path, &global.overlay, output)
        }
    }
}

fn named(text: &str) -> Result<Matrix, Error> {
    let none: &[&Path] = &[];
    Ok(Matrix::load((text != "embedded").then(|| Path::new(text)), none)?)
}

/// A file that is no chart would be lost.
fn ours(file: &Path) -> Result<(), Error> {
    match fs_err::read(file) {
        Ok(old) if !old.is_empty() && !String::from_utf8_lossy(&old).contains(chart::MARK) => {
            Err(Error::Usage {
                message: format!(
                    "`{}` is not what `{}` writes, and would be lost",
                    file.display(),
                    chart::MARK
                ),
                help: Some("name another file with -o, or take that one away".into()),
            })
        }
        _ => Ok(()),
    }
}

fn chart(
    form: ChartForm,
    platform: &str,
    torch: Option<&str>,
    matrix: &Matrix,
) -> Result<String, Error> {
    let platform: Platform = flag("--platform", platform)?;
    let wish: Option<TorchWish> = torch.map(|torch| flag("--torch", torch)).transpose()?;
    let brief = form == ChartForm::Svg && wish.is_none();
    let chart = Chart::new(matrix, platform, wish.as_ref(), brief);
    if chart.columns.is_empty() {
        let of = torch.map_or(String::new(), |torch| format!(" {}", crate::domain::shown(torch)));
        let range = matrix.release_range();
        return Err(Error::Usage {
            message: format!("no CUDA build of torch{of} for {platform} runs on a GPU of the matrix"),
            help: range.map(|(first, last)| {
                format!("the matrix knows torch {first} to {last}, for linux/amd64, linux/arm64 and windows/amd64")
            }),
        });
    }
    Ok(match form {
        ChartForm::Svg => chart::svg(&chart),
        ChartForm::Html => chart::html(&chart),
    })
}

fn check(
    path: Option<&Path>,
    overlays: &[std::path::PathBuf],
    output: &Output,
) -> Result<Exit, Error> {
    match Matrix::load(path, overlays) {
        Ok(matrix) => {
            let rows = matrix.rows().len();
            output.result(&format!("{}: {rows} rows, no fault\n", matrix.title()))?;
            Ok(Exit::Done)
        }
        Err(crate::matrix::Error::Faults(faults)) => {
            let mut text = String::new();
            for fault in &faults {
                let _ = writeln!(text, "{fault}");
            }
            let _ = writeln!(
                text,
                "{} bad row{}",
                faults.len(),
                if faults.len() == 1 { "" } else { "s" }
            );
            output.result(&text)?;
            Ok(Exit::No)
        }
        Err(err) => Err(err.into()),
    }
}

fn counts(rows: &[Row]) -> Vec<(&str, usize)> {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for row in rows {
        match counts.iter_mut().find(|(table, _)| *table == row.table) {
            Some((_, n)) => *n += 1,
            None => counts.push((&row.table, 1)),
        }
    }
    counts
}

fn list(table: Option<&str>, matrix: &Matrix, output: &Output) -> Result<Exit, Error> {
    let rows = matrix.rows();
    let Some(table) = table else {
        let mut text = format!("{}, {}, schema {}\n", matrix.title(), matrix.date, matrix.schema);
        for (table, count) in counts(&rows) {
            let _ = writeln!(text, "  {table:<20} {count:>5}");
        }
        output.result(&text)?;
        return Ok(Exit::Done);
    };
    let keys: Vec<_> = rows.iter().filter(|r| r.table == table).map(|r| r.key.as_str()).collect();
    if keys.is_empty() {
        return Err(no_row(table, &rows));
    }
    output.result(&format!("{}\n", keys.join("\n")))?;
    Ok(Exit::Done)
}

fn no_row(wanted: &str, rows: &[Row]) -> Error {
    let mut near: Vec<(f64, &Row)> = rows
        .iter()
        .map(|r| {
            (strsim::jaro_winkler(&wanted.to_ascii_lowercase(), &r.key.to_ascii_lowercase()), r)
        })
        .filter(|(score, _)| *score > 0.85)
        .collect();
    near.order_by(|a, b| b.0.total_cmp(&a.0));
    let help = if near.is_empty() {
        let tables: Vec<_> = counts(rows).into_iter().map(|(t, _)| t).collect();
        format!("tables are {}; `gpuseal matrix list TABLE` lists keys", tables.join(", "))
    } else {
        let near: Vec<_> =
            near.iter().take(3).map(|(_, r)| format!("`{}/{}`", r.table, r.key)).collect();
        format!("did you mean {}?", near.join(" or "))
    };
    Error::Usage {
        message: format!("the matrix has no table and no row `{}`", crate::domain::shown(wanted)),
        help: Some(help),
    }
}

fn show(wanted: Option<&str>, matrix: &Matrix, output: &Output) -> Result<Exit, Error> {
    let Some(wanted) = wanted else {
        return list(None, matrix, output);
    };
    let rows = matrix.rows();
    let by_name = |row: &&Row| {
        row.table == wanted
            || row.key.eq_ignore_ascii_case(wanted)
            || wanted
                .split_once('/')
                .is_some_and(|(table, key)| row.table == table && row.key.eq_ignore_ascii_case(key))
    };
    let mut found: Vec<Row> = rows.iter().filter(by_name).cloned().collect();
    if found.is_empty()
        && let Ok(gpu) = matrix.gpu(wanted)
        && let Some(at) = gpu.row
    {
        found.extend(
            rows.iter().filter(|r| r.table == "gpus" && r.key == matrix.gpus[at].id).cloned(),
        );
    }
    if found.is_empty() {
        return Err(no_row(wanted, &rows));
    }
    if output.format == Format::Json {
        output.result(&json_v1::rows(&found, matrix))?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    for row in &found {
        let _ = writeln!(text, "{}/{}", row.table, row.key);
        columns(&row.value, 1, &mut text);
    }
    output.result(&text)?;
    Ok(Exit::Done)
}

/// A row's columns, one a line, nested ones indented.
fn columns(value: &serde_json::Value, depth: usize, text: &mut String) {
    use serde_json::Value;
    let pad = "  ".repeat(depth);
    let Value::Object(map) = value else { return };
    for (key, value) in map {
        match value {
            Value::Object(inner) if inner.values().all(Value::is_null) => (),
            Value::Object(_) => {
                let _ = writeln!(text, "{pad}{key}:");
                columns(value, depth + 1, text);
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                let _ = writeln!(text, "{pad}{key}:");
                for item in items {
                    let _ = writeln!(text, "{pad}  -");
                    columns(item, depth + 2, text);
                }
            }
            Value::Array(items) if key == "source" => {
                for item in items {
                    let _ = writeln!(text, "{pad}source: {}", scalar(item));
                }
            }
            Value::Array(items) => {
                let list: Vec<_> = items.iter().map(scalar).collect();
                let _ = writeln!(text, "{pad}{key}: [{}]", list.join(", "));
            }
            other => {
                let _ = writeln!(text, "{pad}{key}: {}", scalar(other));
            }
        }
    }
}

fn scalar(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => items.iter().map(scalar).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

fn diff(old: &Matrix, new: &Matrix, output: &Output) -> Result<Exit, Error> {
    let index = |matrix: &Matrix| -> BTreeMap<(String, String), serde_json::Value> {
        let mut map = BTreeMap::new();
        for row in matrix.rows() {
            let mut key = (row.table, row.key);
            // Notes may share a topic: the later ones get a number.
            let mut n = 1;
            while map.contains_key(&key) {
                n += 1;
                key.1 = format!("{} #{n}", key.1.split(" #").next().unwrap_or_default());
            }
            map.insert(key, row.value);
        }
        map
    };
    let (old_rows, new_rows) = (index(old), index(new));
    let mut text = String::new();
    if old.id != new.id {
        let _ = writeln!(text, "~ id: {} -> {}", old.id, new.id);
    }
    for (key, value) in &old_rows {
        match new_rows.get(key) {
            None => {
                let _ = writeln!(text, "- {}/{}", key.0, key.1);
            }
            Some(other) if other != value => {
                let _ = writeln!(text, "~ {}/{}", key.0, key.1);
                changed(value, other, &mut text);
            }
            Some(_) => (),
        }
    }
    for key in new_rows.keys().filter(|key| !old_rows.contains_key(key)) {
        let _ = writeln!(text, "+ {}/{}", key.0, key.1);
    }
    let same = text.is_empty();
    output.result(if same { "no difference\n" } else { &text })?;
    Ok(if same { Exit::Done } else { Exit::No })
}

fn changed(old: &serde_json::Value, new: &serde_json::Value, text: &mut String) {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return;
    };
    let keys: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let (a, b) = (old.get(key), new.get(key));
        if a != b {
            let show = |v: Option<&serde_json::Value>| v.map_or_else(|| "(absent)".into(), scalar);
            let _ = writeln!(text, "    {key}: {} -> {}", show(a), show(b));
        }
    }
}
