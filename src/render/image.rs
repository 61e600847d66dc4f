//! What an image is called once it is built. The lock cannot know: it is the user's own registry.

use std::fmt;
use std::str::FromStr;

use oci_client::Reference;

use crate::domain::{Sha256, shown};
use crate::lock::Target;

/// Name of an image, with or without a tag or a digest: `registry.example.org/team/app`.
///
/// Held to the grammar of the OCI distribution specification, kept as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    text: String,
    registry: String,
    whole: bool,
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
        Ok(Self {
            text: given.to_owned(),
            registry: reference.registry().to_owned(),
            whole: tagged || reference.digest().is_some(),
        })
    }
}

impl ImageName {
    /// It has a tag or a digest, so it can name one image alone.
    pub const fn is_whole(&self) -> bool {
        self.whole
    }

    /// Host of the registry that holds it, `docker.io` where none is named.
    pub(super) fn registry(&self) -> &str {
        &self.registry
    }

    /// It names what stands behind a digest: such an image can be run, and not built or pushed.
    pub(super) fn is_digest(&self) -> bool {
        self.text.contains('@')
    }

    /// The image of a target: the name as it is where it is whole, else with a tag made of the target
    /// and the digest of the lock, so that two locks never share a tag.
    pub(super) fn of(name: Option<&Self>, target: &Target, lock: &Sha256) -> String {
        let tag = format!("{}-{}", target.name, &lock.hex()[..12]);
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
}
