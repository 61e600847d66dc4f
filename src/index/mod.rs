//! What package indexes and wheel files say, read from bytes that somebody else fetched.
//!
//! Pure: no clock, environment, file or socket. All of it comes from strangers, so every reader has
//! caps, and a name that could leave its folder is refused.
//!
//! `page` reads an index's list of files, `wheel` the name of one, `archive` finds members of a wheel
//! of which only parts are at hand, and `metadata` reads the most important of them.

pub mod archive;
pub mod metadata;
pub mod page;
pub mod wheel;

use pep440_rs::Version;

/// Longest file name, in bytes: what file systems take.
const MAX_NAME: usize = 255;
/// Longest version, in bytes, and its longest number: comparing counts on from such numbers.
const MAX_VERSION: usize = 128;
const MAX_DIGITS: usize = 18;

/// Whether a text may be the name of a file that is written, shown and named in commands: it stays in
/// its folder, it is no option, and no shell sees anything in it.
pub fn is_plain_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && !name.contains("..")
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+!~".contains(&b))
}

/// A version of PEP 440 that can be compared in a moment.
fn version(text: &str) -> Option<Version> {
    (text.len() <= MAX_VERSION && has_small_numbers(text)).then(|| text.parse().ok()).flatten()
}

fn has_small_numbers(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_digit()).all(|number| number.len() <= MAX_DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_may_be_files() {
        for name in ["a-1.0.tar.gz", "torch-2.6.0+cu126-cp312-cp312-linux_x86_64.whl", "_a", "1!2"]
        {
            assert!(is_plain_name(name), "{name}");
        }
        let long = "a".repeat(256);
        for name in [
            "", ".", "..", "-r", ".a", "a/b", "a\\b", "a..b", "a b", "a'b", "a\"b", "a`b", "$a",
            "a$b", "a\nb", "a\u{0}b", "é", "a;b", "a&b", "a|b", "a(b", "a%2fb", "~a", &long,
        ] {
            assert!(!is_plain_name(name), "{name:?}");
        }
    }

    #[test]
    fn versions_have_bounds() {
        assert!(version("1!2.0.post1.dev2+cu12.4").is_some());
        for text in ["", "x", "1.0000000000000000000000001", &format!("1{}", ".0".repeat(100))] {
            assert!(version(text).is_none(), "{text}");
        }
    }
}
