//! A first gpuseal.yaml from what a project's own files say.

use std::fmt::Write as _;

use super::Inputs;
use crate::domain::shown;
use crate::requirements::PLACEHOLDER;

/// Machines of the first target, as far as they are known.
#[derive(Debug, Clone, Default)]
pub struct Machines {
    /// Cards, as given.
    pub gpus: Vec<String>,
    /// Driver, as given.
    pub driver: Option<String>,
    /// Platform.
    pub platform: Option<String>,
    /// Distribution.
    pub os: Option<String>,
}

impl Inputs<'_> {
    /// The text of a gpuseal.yaml, with what is not known marked as such.
    pub fn draft(&self, machines: &Machines) -> String {
        let mut text = String::from(
            "# What this project needs of PyTorch, and where it is to run. `gpuseal resolve` answers it.\n",
        );
        self.said_already(&mut text);
        text.push_str(
            "\n# needs: [compile]   # compile | nvcc | nccl | fp8 | cudnn: what will be done with it\n\
             # prefer: newest     # newest | stable | oldest-driver | smallest\n\
             \ntargets:\n  default:\n",
        );
        if machines.gpus.is_empty() {
            let _ = writeln!(
                text,
                "    gpus: [{PLACEHOLDER}]       # {PLACEHOLDER}: the cards, as nvidia-smi prints them, or h100, sm_90, g5.xlarge"
            );
        } else {
            let gpus: Vec<String> = machines.gpus.iter().map(|gpu| quoted(gpu)).collect();
            let _ = writeln!(text, "    gpus: [{}]", gpus.join(", "));
        }
        match &machines.driver {
            Some(driver) => {
                let _ = writeln!(text, "    driver: {}", quoted(driver));
            }
            None => {
                let _ = writeln!(
                    text,
                    "    driver: {PLACEHOLDER}       # {PLACEHOLDER}: the oldest of the pool (\"570.86.15\"), a branch (\"535\") or a range (\">=535.161\")"
                );
            }
        }
        let mut optional = |key: &str, value: Option<&String>, example: &str| {
            let _ = match value {
                Some(value) => writeln!(text, "    {key}: {}", quoted(value)),
                None => writeln!(text, "    # {key}: {example}"),
            };
        };
        optional("platform", machines.platform.as_ref(), "linux/amd64");
        optional("os", machines.os.as_ref(), "ubuntu22.04");
        text
    }

    /// What is read from the project's files anyway, as comments.
    fn said_already(&self, text: &mut String) {
        let project = self.project;
        let torch: Vec<_> = project.demands.iter().filter(|d| d.name == "torch").collect();
        if torch.is_empty() && project.python.is_empty() {
            text.push_str(
                "#\n# The project's own files say nothing about torch.\n\ntorch: \">=2\"        # any release of torch 2\n# python: \"3.12\"\n# with: [torchvision]\n",
            );
            return;
        }
        text.push_str("#\n# Read from the project's own files, each time:\n");
        for demand in torch {
            let build = demand.variants().first().map_or(String::new(), |(by, variant)| {
                format!(", build {variant} by {}", by.word())
            });
            let spec = demand.spec();
            let spec = if spec.is_empty() { "any version".into() } else { spec };
            let choice = demand
                .choice
                .as_ref()
                .map_or(String::new(), |c| format!(", {}", shown(&c.to_string())));
            let _ = writeln!(
                text,
                "#   torch {}{build}{choice} ({})",
                shown(&spec),
                shown(&demand.place.to_string())
            );
        }
        for said in &project.python {
            let _ = writeln!(
                text,
                "#   Python {} ({})",
                shown(&said.given),
                shown(&said.place.to_string())
            );
        }
        text.push_str(
            "# A key here counts beside those lines, and where both disagree both are shown.\n\n\
             # torch: \">=2.8\"\n# python: \"3.12\"\n# with: [torchvision]\n",
        );
    }
}

/// A YAML text in quotes: JSON's are YAML's too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
