//! Parts of a file: what may be asked, and whether the answer is it.

use std::fmt;
use std::ops::Range;

use super::Error;

/// No part is larger. The directory of the largest wheel there is has about a megabyte.
pub(super) const LARGEST: u64 = 64 << 20;

/// Which part of a file is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// That many bytes of its end; a shorter file is given whole.
    Last(u64),
    /// The bytes from one offset up to another, or to the end of the file.
    At(Range<u64>),
}

/// What a server gives when asked for a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The part.
    Bytes {
        /// Where it begins.
        offset: u64,
        /// What stands there.
        bytes: Vec<u8>,
        /// Size of the file.
        total: u64,
        /// The strong ETag, or else when it was changed last.
        validator: Option<String>,
    },
    /// This server has no parts to give. Nothing was read.
    Whole {
        /// Size of the file, as far as the server says.
        total: Option<u64>,
    },
}

impl Want {
    /// How many bytes at most.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Last(count) => *count,
            Self::At(range) => range.end.saturating_sub(range.start),
        }
    }

    /// The value of the header `Range`.
    pub(super) fn header(&self) -> String {
        match self {
            Self::Last(count) => format!("bytes=-{count}"),
            // The end is included in the header, and excluded here.
            Self::At(range) => format!("bytes={}-{}", range.start, range.end.saturating_sub(1)),
        }
    }

    /// Where the part of a file of that size begins and ends.
    fn of(&self, total: u64) -> Range<u64> {
        match self {
            Self::Last(count) => total.saturating_sub(*count)..total,
            Self::At(range) => range.start..range.end.min(total),
        }
    }
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last(count) => write!(f, "the last {count} bytes"),
            Self::At(range) => write!(f, "bytes {} to {}", range.start, range.end),
        }
    }
}

/// What the header `Content-Range` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    /// Bytes of a file of that size.
    Part { at: Range<u64>, total: u64 },
    /// No such bytes: the file has this size.
    Nothing { total: u64 },
}

/// Reads `bytes 0-99/1234` or `bytes */1234`. A size that is not known (`*`) is of no use here.
pub(super) fn content_range(text: &str) -> Option<Given> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if digits { text.parse::<u64>().ok() } else { None }
    };
    let (range, total) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let total = number(total)?;
    if range == "*" {
        return Some(Given::Nothing { total });
    }
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let end = last.checked_add(1)?;
    (first < end && end <= total).then_some(Given::Part { at: first..end, total })
}

/// Where the part begins and how large the file is, when the answer is the part that was asked for.
pub(super) fn checked(
    url: &str,
    want: &Want,
    header: Option<&str>,
) -> Result<(Range<u64>, u64), Error> {
    let wrong = || Error::Range {
        url: url.to_owned(),
        asked: want.to_string(),
        given: header.map_or_else(
            || "a part without saying which".to_owned(),
            |text| format!("`{}`", text.chars().take(80).collect::<String>()),
        ),
    };
    match header.and_then(content_range) {
        Some(Given::Part { at, total }) if at == want.of(total) => Ok((at, total)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_says_which_it_is() {
        for (text, given) in [
            ("bytes 0-9/10", Some(Given::Part { at: 0..10, total: 10 })),
            ("bytes 5-5/10", Some(Given::Part { at: 5..6, total: 10 })),
            ("bytes */10", Some(Given::Nothing { total: 10 })),
            ("bytes 0-9/*", None),
            ("bytes 0-10/10", None),
            ("bytes 9-0/10", None),
            ("bytes +0-9/10", None),
            ("bytes 0-18446744073709551615/18446744073709551615", None),
            ("lines 0-9/10", None),
            ("bytes", None),
            ("", None),
        ] {
            assert_eq!(content_range(text), given, "{text:?}");
        }
    }

    #[test]
    fn only_the_part_that_was_asked_for_will_do() {
        let part = |want: Want, text| checked("x", &want, Some(text)).ok();
        assert_eq!(part(Want::Last(4), "bytes 6-9/10"), Some((6..10, 10)));
        assert_eq!(part(Want::Last(40), "bytes 0-9/10"), Some((0..10, 10)));
        assert_eq!(part(Want::Last(4), "bytes 0-3/10"), None);
        assert_eq!(part(Want::At(2..5), "bytes 2-4/10"), Some((2..5, 10)));
        assert_eq!(part(Want::At(8..50), "bytes 8-9/10"), Some((8..10, 10)));
        assert_eq!(part(Want::At(2..5), "bytes 2-3/10"), None);
        assert_eq!(part(Want::At(2..5), "bytes 3-4/10"), None);
        assert!(checked("x", &Want::Last(4), None).is_err());
        assert_eq!(Want::At(2..5).header(), "bytes=2-4");
        assert_eq!(Want::Last(7).header(), "bytes=-7");
    }
}
