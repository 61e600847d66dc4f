//! What the name of a base image says for sure.

use pep440_rs::VersionSpecifiers;

use crate::domain::CudaVersion;

/// What a reference tells beside its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// `python:3.11-slim`: its Python.
    Python(VersionSpecifiers),
    /// `pytorch/pytorch:2.4.0-cuda12.4-cudnn9-runtime`: torch, and the CUDA it was built with.
    Torch(VersionSpecifiers, Option<CudaVersion>),
    /// Nothing that would hold for the packages in it.
    Nothing,
}

/// Reads a reference. Only the official images promise what their tags say.
pub fn read(reference: &str) -> Told {
    let reference = reference.split('@').next().unwrap_or_default();
    let (folder, last) = reference.rsplit_once('/').unwrap_or(("", reference));
    let Some((name, tag)) = last.split_once(':') else { return Told::Nothing };
    let folder = folder.strip_prefix("docker.io").unwrap_or(folder).trim_start_matches('/');
    let head = tag.split('-').next().unwrap_or_default();
    let python = name == "python"
        && (folder.is_empty() || folder == "library" || folder.ends_with("/library"));
    // uv's own images: `ghcr.io/astral-sh/uv:python3.12-bookworm-slim`, `uv:0.9-python3.12-alpine`.
    let uv = name == "uv" && folder.ends_with("astral-sh");
    let version = match (python, uv) {
        (true, _) => Some(head),
        (_, true) => tag.split('-').find_map(|part| part.strip_prefix("python")),
        _ => None,
    };
    if python || uv {
        return version.and_then(python_version).map_or(Told::Nothing, Told::Python);
    }
    if name == "pytorch" && folder == "pytorch" {
        let Ok(torch) = format!("=={head}").parse() else { return Told::Nothing };
        let cuda = tag.split('-').find_map(|part| part.strip_prefix("cuda")?.parse().ok());
        return Told::Torch(torch, cuda);
    }
    Told::Nothing
}

/// `3.11` means any patch of it, `3.11.4` that one.
pub fn python_version(given: &str) -> Option<VersionSpecifiers> {
    let numbers = given
        .split('.')
        .all(|part| !part.is_empty() && part.len() < 5 && part.bytes().all(|b| b.is_ascii_digit()));
    let parts = given.split('.').count();
    if !numbers || parts > 3 {
        return None;
    }
    format!("=={given}{}", if parts == 3 { "" } else { ".*" }).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_official_tags_tell() {
        let told = |text: &str| match read(text) {
            Told::Python(versions) => format!("python {versions}"),
            Told::Torch(versions, cuda) => {
                format!("torch {versions} {}", cuda.map_or("-".into(), |cuda| cuda.to_string()))
            }
            Told::Nothing => String::new(),
        };
        for (text, expected) in [
            ("python:3.11-slim", "python ==3.11.*"),
            ("docker.io/library/python:3.11.4@sha256:00", "python ==3.11.4"),
            ("public.ecr.aws/docker/library/python:3.12", "python ==3.12.*"),
            ("python:latest", ""),
            ("ghcr.io/astral-sh/uv:python3.12-bookworm-slim", "python ==3.12.*"),
            ("ghcr.io/astral-sh/uv:0.9.2-python3.11-alpine", "python ==3.11.*"),
            ("ghcr.io/astral-sh/uv:latest", ""),
            ("python:3.13-rc-slim", "python ==3.13.*"),
            ("me/python:3.11", ""),
            ("localhost:5000/python", ""),
            ("pytorch/pytorch:2.4.0-cuda12.4-cudnn9-runtime", "torch ==2.4.0 12.4"),
            ("pytorch/pytorch:latest", ""),
            ("nvcr.io/nvidia/pytorch:24.05-py3", ""),
            ("nvidia/cuda:12.8.1-base-ubuntu24.04", ""),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
    }
}
