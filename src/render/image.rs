//! What an image is called once it is built. The lock cannot know: it is the user's own registry.

use std::fmt;
use std::str::FromStr;

use oci_client::Reference;
use serde::Serialize;

use crate::domain::{Sha256, shown};
use crate::lock::Target;

/// Name of an image, with or without a tag or a digest: `registry.example.org/team/app`.
///
/// Held to the grammar of the OCI distribution specification, kept as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    text: String,
    reference: Reference,
    whole: bool,
}

/// An image in a registry, as tools name it that pull without Docker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pull {
    /// `registry.example.org/team/app:tag`, or `…/app@sha256:…`; after `docker://` for Apptainer.
    pub docker: String,
    /// `registry.example.org#team/app:tag`, after `docker://` for enroot. A digest stands where the tag
    /// stands, which enroot 3.4 and newer take; `@` is known to 4.0 and newer alone.
    ///
    /// Source: NVIDIA/enroot, `docker::_parse_uri` in src/docker.sh, v3.4.0 to v4.1.2.
    pub enroot: String,
}

/// A text that names no image.
#[derive(Debug, thiserror::Error)]
#[error("`{given}` is not the name of an image: {reason}")]
pub struct ParseImageNameError {
    given: String,
    reason: String,
}

impl FromStr for ImageName {
    type Err = ParseImageNameError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let fault = |reason: String| ParseImageNameError { given: shown(given), reason };
        let reference: Reference = given.parse().map_err(|err: oci_client::ParseError| {
            fault(format!("{err}; it looks like `registry.example.org/team/app:tag`"))
        })?;
        // Without a tag the reader adds `latest`.
        let tagged = given.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
        let whole = tagged || reference.digest().is_some();
        Ok(Self { text: given.to_owned(), reference, whole })
    }
}

impl ImageName {
    /// It has a tag or a digest, so it can name one image alone.
    pub const fn is_whole(&self) -> bool {
        self.whole
    }

    /// Host of the registry that holds it, `docker.io` where none is named.
    pub(super) fn registry(&self) -> &str {
        self.reference.registry()
    }

    /// It names what stands behind a digest: such an image can be run, and not built or pushed.
    pub(super) fn is_digest(&self) -> bool {
        self.reference.digest().is_some()
    }

    /// `train-0123456789ab`
    pub(super) fn tag(target: &Target, lock: &Sha256) -> String {
        format!("{}-{}", target.name, &lock.hex()[..12])
    }

    /// Where the image of a target is pulled from.
    pub(super) fn pull(&self, target: &Target, lock: &Sha256) -> Pull {
        let reference = &self.reference;
        let tag = Self::tag(target, lock);
        // What names a digest is asked for by nothing else: not every tool takes both.
        let (sign, version) = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => ("@", digest),
            (None, Some(given)) if self.whole => (":", given),
            _ => (":", tag.as_str()),
        };
        let (registry, path) = (reference.registry(), reference.repository());
        // enroot asks the registry itself, which has another name than its images.
        let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        Pull {
            docker: format!("{registry}/{path}{sign}{version}"),
            enroot: format!("{host}#{path}:{version}"),
        }
    }

    /// The image of a target: the name as it is where it is whole, else with a tag made of the target
    /// and the digest of the lock, so that two locks never share a tag.
    pub(super) fn of(name: Option<&Self>, target: &Target, lock: &Sha256) -> String {
        let tag = Self::tag(target, lock);
        match name {
            Some(name) if name.whole => name.text.clone(),
            Some(name) => format!("{}:{tag}", name.text),
            None => format!("gpuseal:{tag}"),
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::ImageName;
    use crate::lock::sample;

    #[test]
    fn names_as_registries_take_them() {
        for (text, whole) in [
            ("app", false),
            ("team/app", false),
            ("localhost:5000/app", false),
            ("registry.example.org:443/team/app", false),
            ("app:1.0", true),
            ("localhost:5000/app:1.0", true),
            (&*format!("app@sha256:{}", "a".repeat(64)), true),
        ] {
            let name: ImageName = text.parse().expect(text);
            assert_eq!((name.is_whole(), name.to_string().as_str()), (whole, text));
        }
        for text in
            ["", "App", "a b", "a$(id)", "a:", "a\nb", "https://a.example/b", "a'b", "a@sha256:1"]
        {
            assert!(text.parse::<ImageName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_tag_says_target_and_lock() {
        let lock = sample::lock();
        let (target, lock) = (&lock.targets[0], lock.digest());
        let short = &lock.hex()[..12];
        assert_eq!(ImageName::of(None, target, &lock), format!("gpuseal:train-{short}"));
        let name: ImageName = "localhost:5000/app".parse().expect("a name");
        assert_eq!(ImageName::of(Some(&name), target, &lock), format!("{name}:train-{short}"));
        let name: ImageName = "app:1.0".parse().expect("a name");
        assert_eq!(ImageName::of(Some(&name), target, &lock), "app:1.0");
    }

    #[test]
    fn what_pulls_without_docker_is_told_where() {
        let lock = sample::lock();
        let (target, lock) = (&lock.targets[0], lock.digest());
        let tag = ImageName::tag(target, &lock);
        let digest = format!("sha256:{}", "a".repeat(64));
        for (name, docker, enroot) in [
            (
                "registry.example.org:5000/team/app",
                format!("registry.example.org:5000/team/app:{tag}"),
                format!("registry.example.org:5000#team/app:{tag}"),
            ),
            (
                "team/app:1.0",
                "docker.io/team/app:1.0".into(),
                "registry-1.docker.io#team/app:1.0".into(),
            ),
            (
                &format!("registry.example.org/app:1.0@{digest}"),
                format!("registry.example.org/app@{digest}"),
                format!("registry.example.org#app:{digest}"),
            ),
        ] {
            let pull = name.parse::<ImageName>().expect(name).pull(target, &lock);
            assert_eq!((pull.docker, pull.enroot), (docker, enroot));
        }
    }
}
