//! When to ask again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nobody waits longer for one server.
pub(super) const LONGEST: Duration = Duration::from_mins(1);

/// The wait before another try: doubled each time, and never twice the same, so that many who were
/// turned away together do not come back together.
pub(super) fn back_off(base: Duration, tries: u32, seed: u64) -> Duration {
    let whole = base.saturating_mul(1 << tries.saturating_sub(1).min(6)).min(LONGEST);
    // Half of it, and up to the other half more.
    let share = u32::try_from(mixed(seed) % 1024).unwrap_or(0);
    whole / 2 + whole / 2 * share / 1024
}

/// Any number at all that the next caller does not get.
pub(super) fn seed() -> u64 {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let local = 0u8;
    let place = std::ptr::from_ref(&local).addr() as u64;
    u64::from(clock.subsec_nanos()) ^ place.rotate_left(32) ^ u64::from(std::process::id())
}

/// The finisher of SplitMix64: neighbouring numbers get far apart.
fn mixed(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// `Retry-After`: seconds, or a date; anything else says nothing.
pub(super) fn retry_after(given: &str, now: SystemTime) -> Option<Duration> {
    let given = given.trim();
    if !given.is_empty() && given.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are longer than anybody waits.
        return Some(Duration::from_secs(given.parse().unwrap_or(u64::MAX)));
    }
    let then = UNIX_EPOCH + Duration::from_secs(date(given)?);
    Some(then.duration_since(now).unwrap_or_default())
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`.
///
/// Source: RFC 9110, section 5.6.7; the two obsolete forms are not read.
fn date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.split_once(", ")?;
    let [day, month, year, time, "GMT"] = rest.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    let number = |text: &str, highest: u64| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u64>().ok().filter(|&n| digits && n <= highest)
    };
    let [hour, minute, second] = time.split(':').collect::<Vec<_>>()[..] else {
        return None;
    };
    let (day, year) =
        (number(day, 31)?.checked_sub(1)?, number(year, 9999).filter(|&y| y >= 1970)?);
    let month = MONTHS.iter().position(|m| *m == month)?;
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let before: u64 = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30].iter().take(month).sum();
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let days = (year - 1970) * 365 + leaps(year - 1) - leaps(1969)
        + before
        + u64::from(month > 1 && leap(year))
        + day;
    Some(((days * 24 + number(hour, 23)?) * 60 + number(minute, 59)?) * 60 + number(second, 60)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_written() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 29 Feb 2024 12:00:00 GMT", Some(1_709_208_000)),
            ("Sat, 21 Nov 2026 17:40:29 GMT", Some(1_795_282_829)),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Sun, 00 Nov 1994 08:49:37 GMT", None),
            ("Sun, +6 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 999999999999 08:49:37 GMT", None),
            ("", None),
        ] {
            assert_eq!(date(text), seconds, "{text:?}");
        }
    }

    #[test]
    fn a_server_may_ask_for_patience() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_700);
        for (text, wait) in [
            ("0", Some(0)),
            (" 7 ", Some(7)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(77)),
            // Past already.
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, now), wait.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn waits_grow_and_end() {
        let base = Duration::from_millis(500);
        for seed in 0..50 {
            let mut least = Duration::ZERO;
            for tries in 1..40 {
                let wait = back_off(base, tries, seed);
                let whole = base.saturating_mul(1 << (tries - 1).min(6)).min(LONGEST);
                assert!(wait >= whole / 2 && wait <= whole, "{wait:?}");
                assert!(wait >= least, "{wait:?}");
                least = whole / 2;
            }
        }
        assert_ne!(back_off(base, 1, 1), back_off(base, 1, 2));
    }
}
