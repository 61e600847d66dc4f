//! gpuseal.yaml beside the project's own files: the same sort of statements, with the least weight.

use super::demand::{By, CudaSaid, Demand, FileRead, Project, PythonSaid};
use super::marker::Marker;
use crate::domain::{Place, WheelVariant};
use crate::requirements::{PythonWish, Requirements};

impl Project {
    /// Adds what a configuration says of the project.
    pub fn add(&mut self, config: &Requirements) {
        let Some(file) = &config.file else { return };
        let file = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let place = |key: &str| {
            let line = config.origins.get(key).and_then(|o| o.rsplit_once(':')?.1.parse().ok());
            Place { file: file.clone(), line: line.unwrap_or(1) }
        };
        self.files.push(FileRead { name: file.clone(), what: "configuration" });
        if let Some(torch) = &config.torch {
            let mut demand = Demand::new("torch", &torch.given, place("torch"));
            demand.versions = torch.versions.clone();
            self.cuda.extend(torch.variant.map(|variant| CudaSaid {
                given: torch.given.clone(),
                variant: Some(variant),
                by: By::Label,
                package: "torch".into(),
                marker: Marker::default(),
                choice: None,
                place: demand.place.clone(),
            }));
            self.demands.push(demand);
        }
        for package in &config.with {
            let mut demand = Demand::new(&package.name, &package.given, place("with"));
            demand.versions = package.versions.clone();
            demand.extras = package.extras.iter().cloned().collect();
            self.demands.push(demand);
        }
        if let Some(cuda) = &config.cuda {
            self.cuda.push(CudaSaid {
                given: cuda.given.clone(),
                variant: exact(&cuda.given),
                by: By::Config,
                package: String::new(),
                marker: Marker::default(),
                choice: None,
                place: place("cuda"),
            });
        }
        if let Some(python) = &config.python {
            let versions = match python {
                PythonWish::Exact(version) => {
                    let patch = version.patch.map_or(".*".to_owned(), |patch| format!(".{patch}"));
                    format!("==3.{}{patch}", version.minor).parse().unwrap_or_default()
                }
                PythonWish::Range(_, versions) => versions.clone(),
            };
            self.python.push(PythonSaid {
                versions,
                given: python.to_string(),
                by: "python",
                choice: None,
                place: place("python"),
            });
        }
    }
}

/// The build that a CUDA wish names exactly: `cu128`, `12.8`.
fn exact(given: &str) -> Option<WheelVariant> {
    let given = given.trim();
    given
        .parse::<WheelVariant>()
        .ok()
        .or_else(|| WheelVariant::of_cuda(given.parse::<crate::domain::CudaVersion>().ok()?))
}
