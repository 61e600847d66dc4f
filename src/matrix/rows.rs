//! The matrix as a flat list of rows, for people: to list, show and compare.

use serde::Serialize;
use serde_json::Value;

use super::{Evidence, Matrix};

/// One row, whatever its table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Table it stands in.
    pub table: String,
    /// Its key, unique in the table but for notes.
    pub key: String,
    /// Its columns; evidence is spelled out.
    pub value: Value,
}

impl Matrix {
    /// Every row of every table, in the order of the tables. Builds of torch are rows of their own.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        macro_rules! table {
            ($name:literal, $table:expr, $key:expr) => {
                for row in $table {
                    rows.push(self.row($name, ($key)(row), row));
                }
            };
        }
        for release in &self.releases {
            let mut head = self.row("torch", release.version.to_string(), release);
            if let Value::Object(columns) = &mut head.value {
                let names =
                    release.variants.iter().map(|v| Value::String(v.name.to_string())).collect();
                columns.insert("variants".into(), Value::Array(names));
            }
            rows.push(head);
            for variant in &release.variants {
                rows.push(self.row(
                    "torch",
                    format!("{}+{}", release.version, variant.name),
                    variant,
                ));
            }
        }
        table!("gpus", &self.gpus, |r: &super::Gpu| r.id.clone());
        table!("throughput", &self.throughput, |r: &super::Throughput| r.capability.to_string());
        table!("generations", &self.generations, |r: &super::Generation| r.name.clone());
        table!("code_rules", &self.code_rules, |r: &super::CodeRule| r.code.to_string());
        table!("branches", &self.branches, |r: &super::Branch| r.branch.to_string());
        table!("first_listed", &self.first_listed, |r: &super::FirstListed| r.name.clone());
        table!("toolkits", &self.toolkits, |r: &super::Toolkit| r.version.to_string());
        table!("toolkit_packages", &self.toolkit_packages, |r: &super::ToolkitPackages| r
            .version
            .to_string());
        table!("compilers", &self.compilers, |r: &super::Compiler| r.cuda.to_string());
        table!("minor_compat", &self.minor_compat, |r: &super::MinorCompat| r
            .cuda_major
            .to_string());
        table!("forward_compat", &self.forward_compat, |r: &super::ForwardCompat| r
            .package
            .clone());
        table!("cudnn", &self.cudnn, |r: &super::Cudnn| format!(
            "{}-cu{}",
            r.version, r.cuda_major
        ));
        table!("cuda_images", &self.cuda_images, |r: &super::CudaImage| format!(
            "{}-{}",
            r.cuda,
            r.distros.join(",")
        ));
        table!("image_requirements", &self.image_requirements, |r: &super::ImageRequirement| r
            .image
            .to_string());
        table!("python_images", &self.python_images, |r: &super::PythonImage| r.tag.clone());
        table!("uv_images", &self.uv_images, |r: &super::UvImage| format!(
            "{}:{}",
            r.repository, r.tag
        ));
        table!("distros", &self.distros, |r: &super::Distro| r.name.clone());
        table!("companions", &self.companions, |r: &super::Companion| format!(
            "{}-{}",
            r.package, r.version
        ));
        table!("companion_rules", &self.companion_rules, |r: &super::CompanionRule| {
            format!("{}{}", r.package, r.versions)
        });
        table!("messages", self.messages(), |r: &super::Message| r.id.clone());
        table!("pages", self.pages(), |r: &super::Page| r.code.to_string());
        for row in &self.archive {
            let columns =
                row.columns.iter().map(|(k, v)| (k.clone(), Value::String(v.clone()))).collect();
            let mut value = Value::Object(columns);
            self.spell_out(&mut value, &row.evidence);
            rows.push(Row { table: row.table.clone(), key: row.key.clone(), value });
        }
        for source in &self.sources {
            rows.push(self.row("sources", source.key.clone(), source));
        }
        rows
    }

    fn row(&self, table: &str, key: String, row: &impl Serialize) -> Row {
        let mut value = serde_json::to_value(row).unwrap_or(Value::Null);
        self.spell_out_within(&mut value);
        Row { table: table.into(), key, value }
    }

    /// Replaces indices into `sources` by keys, drops empty columns.
    fn spell_out_within(&self, value: &mut Value) {
        match value {
            Value::Object(columns) => {
                let evidence = columns
                    .remove("evidence")
                    .and_then(|e| serde_json::from_value::<Vec<Evidence>>(e).ok());
                if let Some(Value::Object(more)) = columns.remove("more") {
                    columns.extend(more);
                }
                // An empty list is a fact (no PTX inside); an empty map or null says nothing.
                columns.retain(|_, v| !v.is_null() && v.as_object().is_none_or(|m| !m.is_empty()));
                for column in columns.values_mut() {
                    self.spell_out_within(column);
                }
                if let Some(evidence) = evidence {
                    self.spell_out(value, &evidence);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.spell_out_within(item)),
            _ => (),
        }
    }

    fn spell_out(&self, value: &mut Value, evidence: &[Evidence]) {
        if let Value::Object(columns) = value {
            let cited = evidence.iter().map(|e| Value::String(self.cite(e))).collect();
            columns.insert("source".into(), Value::Array(cited));
        }
    }
}
