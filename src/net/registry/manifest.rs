//! What stands behind a tag: an index of images, or one image. Pure.

use serde::Deserialize;

use crate::domain::{Platform, Sha256, shown};

/// Media types that are asked for, all that can be read.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
const IMAGES: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// More images than any index has.
const MOST: usize = 1000;
/// Bytes that no image has.
const TOO_LARGE: u64 = 1 << 40;

/// A manifest as far as its digest for a platform asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Manifest {
    /// Images of several platforms.
    Index(Vec<Entry>),
    /// One image; its configuration says for which platform.
    Image {
        /// Digest of the configuration.
        config: Sha256,
        /// Bytes of its layers as they are pulled. Nothing rests on them: `None` where there is no sum.
        size: Option<u64>,
    },
}

/// An image in an index.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub digest: Sha256,
    pub size: u64,
    pub built_for: BuiltFor,
}

/// Operating system, machine and its variant, in the registry's words.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct BuiltFor {
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub variant: Option<String>,
}

impl BuiltFor {
    /// Whether images for it run on a platform.
    pub fn serves(&self, platform: Platform) -> bool {
        let (os, machine) = platform.name().split_once('/').unwrap_or_default();
        let os = if os == "macos" { "darwin" } else { os };
        let variant = self.variant.as_deref().unwrap_or_default();
        self.os == os
            && self.architecture == machine
            // `v8` is all of arm64; other variants ask for more than every machine has.
            && (variant.is_empty() || (machine == "arm64" && variant == "v8"))
    }

    /// Signatures and provenance, which are no images, are `unknown/unknown`.
    fn is_image(&self) -> bool {
        !self.os.is_empty() && self.os != "unknown"
    }

    /// `linux/arm64/v8`
    pub fn shown(&self) -> String {
        let variant = self.variant.as_deref().filter(|v| !v.is_empty());
        let mut text = format!("{}/{}", self.os, self.architecture);
        if let Some(variant) = variant {
            text.push('/');
            text.push_str(variant);
        }
        shown(&text)
    }
}

/// Reads the manifest behind a tag or a digest.
///
/// `media_type` is the Content-Type of the answer; where the text names a type too, both must agree,
/// so that no text is an index for one reader and an image for another.
pub(super) fn read(bytes: &[u8], media_type: Option<&str>) -> Result<Manifest, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Text {
        schema_version: Option<u32>,
        media_type: Option<String>,
        manifests: Option<Vec<Row>>,
        config: Option<Descriptor>,
        #[serde(default)]
        layers: serde_json::Value,
    }
    #[derive(Deserialize)]
    struct Descriptor {
        digest: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Row {
        media_type: Option<String>,
        digest: String,
        size: u64,
        platform: Option<BuiltFor>,
    }

    let text: Text = serde_json::from_slice(bytes).map_err(|err| shown(&err.to_string()))?;
    match text.schema_version {
        Some(2) => (),
        Some(other) => return Err(format!("its schema version is {other}, and 2 is read")),
        None => return Err("it has no schema version".into()),
    }
    let essence = media_type
        .map(|t| t.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        // What a file server says that knows no better.
        .filter(|t| !["application/json", "application/octet-stream", ""].contains(&t.as_str()));
    let named = match (essence, text.media_type) {
        (Some(header), Some(inside)) if header != inside => {
            return Err(format!(
                "its Content-Type is {}, and the text says {}",
                shown(&header),
                shown(&inside)
            ));
        }
        (header, inside) => header.or(inside),
    };
    let is = |types: [&str; 2]| named.as_deref().is_none_or(|name| types.contains(&name));
    let digest = |given: &str| given.parse::<Sha256>().map_err(|err| err.to_string());
    match (text.manifests, text.config) {
        (Some(rows), None) if is(INDEXES) => {
            if rows.len() > MOST {
                return Err(format!("it lists more than {MOST} images"));
            }
            let mut entries = Vec::new();
            for row in rows {
                let image = row.media_type.as_deref().is_none_or(|t| IMAGES.contains(&t));
                let built_for = row.platform.unwrap_or_default();
                if image && built_for.is_image() {
                    entries.push(Entry { digest: digest(&row.digest)?, size: row.size, built_for });
                }
            }
            Ok(Manifest::Index(entries))
        }
        (None, Some(config)) if is(IMAGES) => {
            let mut layers = text.layers.as_array().into_iter().flatten();
            let sum =
                layers.try_fold(0_u64, |sum, layer| sum.checked_add(layer.get("size")?.as_u64()?));
            let size = sum.filter(|size| (1..TOO_LARGE).contains(size));
            Ok(Manifest::Image { config: digest(&config.digest)?, size })
        }
        _ => Err(match named {
            Some(name) => format!("it is `{}`, neither an image nor an index", shown(&name)),
            None => "it is neither an image nor an index".into(),
        }),
    }
}

/// Reads the platform from an image's configuration.
pub(super) fn config(bytes: &[u8]) -> Result<BuiltFor, String> {
    let built: BuiltFor = serde_json::from_slice(bytes).map_err(|err| shown(&err.to_string()))?;
    if built.is_image() {
        return Ok(built);
    }
    Err("its configuration names no operating system".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
        {"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:DDD","size":7,"platform":{"os":"linux","architecture":"OOO","variant":"VVV"}},
        {"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:DDD","size":8,"platform":{"os":"unknown","architecture":"unknown"}}]}"#;

    fn index(architecture: &str, variant: &str) -> String {
        INDEX.replace("DDD", &"a".repeat(64)).replace("OOO", architecture).replace("VVV", variant)
    }

    #[test]
    fn an_index_lists_images_and_no_attestations() {
        let text = index("arm64", "v8");
        let Ok(Manifest::Index(entries)) = read(text.as_bytes(), Some(INDEXES[0])) else {
            panic!("no index")
        };
        assert_eq!(entries.len(), 1);
        assert!(entries[0].built_for.serves(Platform::LinuxArm64));
        assert!(!entries[0].built_for.serves(Platform::LinuxAmd64));
        assert_eq!(entries[0].built_for.shown(), "linux/arm64/v8");
    }

    #[test]
    fn variants_that_ask_for_more_do_not_serve() {
        let built = |architecture: &str, variant: Option<&str>| BuiltFor {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: variant.map(str::to_owned),
        };
        assert!(built("arm64", None).serves(Platform::LinuxArm64));
        assert!(!built("arm64", Some("v9")).serves(Platform::LinuxArm64));
        assert!(!built("arm", Some("v7")).serves(Platform::LinuxArm64));
        assert!(built("amd64", Some("")).serves(Platform::LinuxAmd64));
        assert!(!built("amd64", Some("v3")).serves(Platform::LinuxAmd64));
    }

    #[test]
    fn the_size_is_that_of_the_layers() {
        let text = |layers: &str| {
            let config = format!(r#""config":{{"digest":"sha256:{}"}}"#, "b".repeat(64));
            format!(r#"{{"schemaVersion":2,{config}{layers}}}"#)
        };
        for (layers, expected) in [
            (r#","layers":[{"size":28},{"size":14}]"#, Some(42)),
            (r#","layers":[{"size":28},{}]"#, None),
            (r#","layers":[{"size":18446744073709551615},{"size":1}]"#, None),
            (r#","layers":[{"size":9223372036854775808}]"#, None),
            (r#","layers":[{"size":-1}]"#, None),
            (r#","layers":[]"#, None),
            (r#","layers":7"#, None),
            ("", None),
        ] {
            match read(text(layers).as_bytes(), None) {
                Ok(Manifest::Image { size, .. }) => assert_eq!(size, expected, "{layers}"),
                other => panic!("{layers}: {other:?}"),
            }
        }
    }

    #[test]
    fn no_text_is_two_things_at_once() {
        let good = index("amd64", "");
        let config = format!(r#""config":{{"digest":"sha256:{}"}}"#, "b".repeat(64));
        let image = format!(r#"{{"schemaVersion":2,{config},"layers":[]}}"#);
        assert!(matches!(read(image.as_bytes(), Some(IMAGES[1])), Ok(Manifest::Image { .. })));
        assert!(matches!(read(image.as_bytes(), None), Ok(Manifest::Image { .. })));
        let both = good.replacen("\"manifests\"", &format!("{config},\"manifests\""), 1);
        for (text, media_type, word) in [
            (good.as_str(), Some(IMAGES[0]), "says"),
            (&image, Some(INDEXES[0]), "neither"),
            (&both, Some(INDEXES[0]), "neither"),
            (&image, Some("text/html; charset=utf-8"), "text/html"),
            (&image.replace(":2,", ":1,"), None, "version"),
            (&image.replace("sha256:bbb", "sha512:bbb"), None, "digest"),
            ("{}", None, "version"),
            ("[]", None, ""),
            ("", None, ""),
            (&"[".repeat(100_000), None, ""),
        ] {
            let err = read(text.as_bytes(), media_type).expect_err("an error");
            assert!(err.contains(word), "{err}");
        }
    }
}
