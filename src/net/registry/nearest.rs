//! Tags that look like one that does not exist. Pure.

use crate::domain::Order as _;
use std::cmp::Reverse;

/// Tags to name at most.
const MOST: usize = 5;

/// The tags that are meant most likely, nearest first: same flavour (`-slim-trixie`), then the same
/// beginning, then the fewest letters apart, then the newer.
pub(super) fn nearest(wanted: &str, tags: &[String]) -> Vec<String> {
    let words = |tag: &str| tag.split(['.', '-', '_']).map(str::to_owned).collect::<Vec<_>>();
    let flavour = |tag: &str| tag.split_once('-').map(|(_, rest)| rest.to_owned());
    let asked = words(wanted);
    let mut ranked: Vec<_> = tags
        .iter()
        .filter(|tag| is_tag(tag))
        .filter_map(|tag| {
            let same = flavour(wanted).is_some() && flavour(tag) == flavour(wanted);
            let theirs = words(tag);
            let beginning =
                asked.iter().zip(&theirs).take_while(|(one, other)| one == other).count();
            let apart = strsim::damerau_levenshtein(wanted, tag);
            // More letters apart than that, and nobody would take one for the other.
            let alike = apart * 5 <= wanted.len().max(tag.len()) * 2;
            (same || beginning > 0 || alike).then(|| {
                let newer: Vec<u64> = theirs.iter().filter_map(|w| w.parse().ok()).collect();
                (Reverse((same, beginning)), apart, Reverse(newer), tag)
            })
        })
        .collect();
    ranked.order();
    ranked.dedup();
    ranked.into_iter().take(MOST).map(|(.., tag)| tag.clone()).collect()
}

/// Whether a text is a tag by the protocol's rule. What a registry lists is shown to people.
fn is_tag(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= 128
        && text.starts_with(word)
        && text.chars().all(|c| word(c) || c == '.' || c == '-')
}

#[cfg(test)]
mod tests {
    fn nearest(wanted: &str, tags: &str) -> String {
        let tags: Vec<String> = tags.split(' ').map(str::to_owned).collect();
        super::nearest(wanted, &tags).join(" ")
    }

    #[test]
    fn the_flavour_counts_first() {
        assert_eq!(
            nearest(
                "12.8.2-devel-ubuntu24.04",
                "latest 12.8.1-base-ubuntu24.04 12.6.3-devel-ubuntu24.04 12.8.0-devel-ubuntu24.04 12.8.1-devel-ubuntu24.04 11.8.0-devel-ubuntu22.04"
            ),
            "12.8.1-devel-ubuntu24.04 12.8.0-devel-ubuntu24.04 12.6.3-devel-ubuntu24.04 12.8.1-base-ubuntu24.04 11.8.0-devel-ubuntu22.04"
        );
        assert_eq!(
            nearest("3.12-slim-trixy", "3.12 3.12-slim 3.12-slim-trixie 3.13-slim-trixie bookworm"),
            "3.12-slim-trixie 3.12-slim 3.12 3.13-slim-trixie"
        );
        assert_eq!(nearest("0.9.99", "0.9.9 0.9.10 0.8.0 debian"), "0.9.9 0.9.10 0.8.0");
        assert_eq!(nearest("lastest", "latest nightly"), "latest");
    }

    #[test]
    fn nothing_alike_is_nothing_named() {
        assert_eq!(nearest("3.12-slim", "sha-0123 main"), "");
        assert_eq!(nearest("1", "$(id) a\u{1b}[31m 1.0/../x"), "");
    }
}
