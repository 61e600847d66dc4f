//! SHA-256, as indexes, registries and locks write it.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

use super::{ParseError, serde_as_text};

/// `sha256:` and 64 lower case hexadecimal digits.
///
/// # Errors
/// Parsing refuses other algorithms, upper case, and any other length.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(String);

serde_as_text!(Sha256);

impl Sha256 {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The text, with `sha256:` before it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 digits alone, as the fragment of an index's link has them.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    /// From the 32 bytes that it is made of.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == 32).then(|| written(bytes))
    }

    /// From the 64 digits alone, in either case.
    pub fn from_hex(digits: &str) -> Option<Self> {
        format!("sha256:{}", digits.to_ascii_lowercase()).parse().ok()
    }
}

fn written(bytes: &[u8]) -> Sha256 {
    use fmt::Write as _;

    let mut text = String::from("sha256:");
    for byte in bytes {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Sha256(text)
}

/// The digest of bytes that come piece by piece.
#[derive(Debug, Clone, Default)]
pub struct Hasher(sha2::Sha256);

impl Hasher {
    /// Adds a piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all pieces.
    pub fn finish(self) -> Sha256 {
        written(&self.0.finalize())
    }
}

impl FromStr for Sha256 {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let fits = given.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        });
        if fits {
            return Ok(Self(given.to_owned()));
        }
        Err(ParseError::new("a digest", given, "`sha256:` and 64 lower case hexadecimal digits"))
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_as_written() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Sha256::of(b"").hex(), empty);
        assert_eq!(Sha256::from_hex(&empty.to_uppercase()), Some(Sha256::of(b"")));
        for text in ["", "sha256:", empty, &format!("sha256:{}", empty.to_uppercase()), "md5:12"] {
            assert!(text.parse::<Sha256>().is_err(), "{text:?}");
        }
    }
}
