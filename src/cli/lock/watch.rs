//! What is told of the network while it is asked: every request with `-v`, progress on a terminal.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::output::Output;
use crate::net::{self, registry};
use crate::report::bytes;

/// Tells on standard error.
pub struct Watch {
    verbose: bool,
    quiet: bool,
    bar: ProgressBar,
    images: Mutex<(u64, u64)>,
}

impl Watch {
    /// Progress is shown on a terminal only, and never under CI.
    pub fn new(output: &Output) -> Self {
        let plain = output.quiet()
            || !std::io::stderr().is_terminal()
            || ["CI", "GPUSEAL_NO_PROGRESS"].iter().any(|name| std::env::var_os(name).is_some());
        let bar = ProgressBar::with_draw_target(
            None,
            if plain { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() },
        );
        bar.set_style(
            ProgressStyle::with_template("{spinner} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        if !plain {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        Self { verbose: output.verbose, quiet: output.quiet(), bar, images: Mutex::default() }
    }

    /// What is going on.
    pub fn doing(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
    }

    /// No more progress.
    pub fn done(&self) {
        self.bar.finish_and_clear();
    }

    /// Requests to registries and their bytes.
    pub fn images(&self) -> (u64, u64) {
        *self.images.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn say(&self, text: &str) {
        self.bar.suspend(|| anstream::eprintln!("{text}"));
    }
}

impl net::Watcher for Watch {
    fn request(&self, done: &net::Request) {
        if self.verbose {
            let status = done.status.map_or_else(|| "failed".to_owned(), |s| s.to_string());
            self.say(&format!(
                "{} {} {status} {} in {} ms",
                done.method,
                done.url,
                bytes(done.bytes),
                done.took.as_millis()
            ));
        }
    }

    fn progress(&self, file: &str, so_far: u64, total: Option<u64>) {
        let of = total.map_or_else(String::new, |total| format!(" of {}", bytes(total)));
        self.doing(format!("{file}: {}{of}", bytes(so_far)));
    }

    fn retry(&self, note: &str) {
        // A host that is down is asked for every package: that would be a page of the same.
        if self.verbose {
            self.say(&format!("again: {note}"));
        } else {
            self.doing(format!("again: {note}"));
        }
    }

    fn warn(&self, note: &str) {
        if !self.quiet {
            self.say(&format!("warning: {note}"));
        }
    }
}

impl registry::Watcher for Watch {
    fn asked(&self, what: &str, size: u64, took: Duration) {
        let mut images = self.images.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        images.0 += 1;
        images.1 += size;
        if self.verbose {
            self.say(&format!("{what} {} in {} ms", bytes(size), took.as_millis()));
        }
    }

    fn warning(&self, text: &str) {
        net::Watcher::warn(self, text);
    }
}
