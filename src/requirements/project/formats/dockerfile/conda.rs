//! `conda install` as it stands in a script: hints, because another solver picks the builds.

use pep440_rs::VersionSpecifiers;

use super::installs::Installs;
use super::shell::Command;
use super::vars::Word;
use crate::domain::{CudaVersion, WheelVariant, shown};
use crate::requirements::project::demand::{By, CudaSaid, Demand, Kind, PythonSaid};
use crate::requirements::project::marker::Marker;

/// Options with a value.
const VALUED: &[&str] = &[
    "-c",
    "--channel",
    "-n",
    "--name",
    "-p",
    "--prefix",
    "--file",
    "-f",
    "--clone",
    "--solver",
    "--platform",
    "--subdir",
    "--repodata-fn",
    "--revision",
    "-r",
    "--root-prefix",
];

/// Reads what conda, mamba or micromamba is told.
pub fn read(words: &[Word], command: &Command, on: &mut Installs<'_>) {
    let Some((verb, words)) = words.split_first() else { return };
    if !matches!(verb.as_str(), "install" | "create") || on.only_maybe(command, "is run") {
        return;
    }
    for (whole, line) in &command.redirected {
        on.unread(
            *line,
            format!(
                "`{}` stands without quotes: the shell redirects, any version is taken",
                shown(whole)
            ),
        );
    }
    on.any = true;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let text = word.as_str();
        if text.starts_with('-') {
            let value = VALUED.contains(&text).then(|| words.next()).flatten();
            if let Some(file) = value.filter(|_| text == "--file") {
                on.unread(
                    file.line(),
                    format!("`{}` is conda's, and is not read", shown(file.as_str())),
                );
            }
        } else if !on.depends(word) {
            package(word, on);
        }
    }
}

/// A package in conda's words: `channel::name=version=build`, `name>=version`.
fn package(word: &Word, on: &mut Installs<'_>) {
    let given = word.as_str();
    let text = given.rsplit("::").next().unwrap_or(given).replace(' ', "");
    let at = text.find(['=', '<', '>', '!', '~', '[']).unwrap_or(text.len());
    let (name, spec) = text.split_at(at);
    if name.is_empty() || name.contains(['/', '*']) {
        return;
    }
    let (version, build) = parts(spec);
    let place = on.text.place(word.line());
    let cuda = |given: &str, variant: Option<WheelVariant>, package: &str| CudaSaid {
        given: given.to_owned(),
        variant,
        by: By::Config,
        package: package.to_owned(),
        marker: Marker::default(),
        choice: on.choice.clone(),
        place: place.clone(),
    };
    match name {
        "pytorch-cuda" | "cudatoolkit" | "cuda-version" => {
            if !version.is_empty() {
                let said = cuda(version, variant(version), "");
                on.reader.project.cuda.push(said);
            }
        }
        "cpuonly" => {
            let said = cuda(name, Some(WheelVariant::Cpu), "");
            on.reader.project.cuda.push(said);
        }
        "python" => {
            if let Some(versions) = specifiers(version, spec) {
                on.reader.project.python.push(PythonSaid {
                    versions,
                    given: given.to_owned(),
                    by: "conda",
                    choice: on.choice.clone(),
                    place,
                });
            }
        }
        _ => {
            let name = match name {
                "pytorch" | "pytorch-gpu" | "pytorch-cpu" => "torch",
                name => name,
            };
            // `py3.10_cuda12.1_cudnn8.9.2_0`: the name of the build tells.
            let after = build.split("cuda").nth(1).map(|rest| {
                let ends = |c: char| !c.is_ascii_digit() && c != '.';
                &rest[..rest.find(ends).unwrap_or(rest.len())]
            });
            if let Some(found) = after.and_then(variant) {
                let said = cuda(build, Some(found), name);
                on.reader.project.cuda.push(said);
            }
            let mut demand = Demand::new(name, given, place.clone());
            match specifiers(version, spec) {
                Some(versions) => demand.versions = versions,
                None if version.is_empty() => (),
                None => {
                    on.unread(
                        word.line(),
                        format!("`{}` is no version that is read", shown(given)),
                    );
                    return;
                }
            }
            demand.kind = Kind::Hint;
            demand.choice.clone_from(&on.choice);
            on.reader.push(demand);
        }
    }
}

/// Version and build of `=2.1.0=py3.10_0`; comparisons stay whole.
fn parts(spec: &str) -> (&str, &str) {
    let Some(rest) = spec.strip_prefix('=') else { return (spec, "") };
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    rest.split_once('=').unwrap_or((rest, ""))
}

/// The build of an exact version.
fn variant(version: &str) -> Option<WheelVariant> {
    let version = version.trim_end_matches(".*").parse::<CudaVersion>().ok()?;
    WheelVariant::of_cuda(version.series())
}

/// conda's versions in PEP 440's words: `=2.1` is `==2.1.*` there.
fn specifiers(version: &str, spec: &str) -> Option<VersionSpecifiers> {
    if version.is_empty() {
        return None;
    }
    if !spec.starts_with('=') {
        return spec.parse().ok();
    }
    if let Some((first, rest)) = version.split_once(',') {
        return format!("=={first},{rest}").parse().ok();
    }
    let whole = version.ends_with('*') || spec.starts_with("==") || version.split('.').count() > 2;
    format!("=={version}{}", if whole { "" } else { ".*" }).parse().ok()
}
