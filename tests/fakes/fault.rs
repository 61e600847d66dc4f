//! What goes wrong: `FAKE_DRIVER` is a list of `name=value` with commas. A function's own name takes the status
//! that it returns, `hang` or `crash`; with `@N` behind its name only its Nth call, from 1. Other names are
//! values: `devices=2`, `result=flip-low`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

/// The value of a name.
pub fn text(name: &str) -> Option<String> {
    let list = std::env::var("FAKE_DRIVER").unwrap_or_default();
    let mut pairs = list.split(',').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

/// The value of a name as a number.
pub fn number(name: &str, otherwise: i64) -> i64 {
    text(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// What happens in a function: the status that it returns, or it never returns.
pub fn status_of(function: &str) -> i32 {
    thread_local!(static CALLS: RefCell<BTreeMap<String, u32>> = const { RefCell::new(BTreeMap::new()) });
    let call = CALLS.with_borrow_mut(|calls| {
        let call = calls.entry(function.to_owned()).or_default();
        *call += 1;
        *call
    });
    let what = text(&format!("{function}@{call}")).or_else(|| text(function));
    match what.as_deref() {
        None => 0,
        Some("hang") => loop {
            std::thread::sleep(Duration::from_hours(1));
        },
        Some("crash") => {
            // SAFETY: none; this is the point of it.
            unsafe { std::ptr::null_mut::<u8>().write_volatile(0) };
            0
        }
        Some(status) => status.parse().expect("a status"),
    }
}

/// Begins a function: returns its status from the caller where one is injected.
#[allow(unused_macros, reason = "for the modules of the libraries")]
macro_rules! enter {
    ($name:literal) => {
        match $crate::fault::status_of($name) {
            0 => (),
            status => return status,
        }
    };
}
#[allow(unused_imports, reason = "for the modules of the libraries")]
pub(crate) use enter;
