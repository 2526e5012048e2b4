//! How far a check is: a bar on a terminal, a line from time to time otherwise.

use std::{
    cell::Cell,
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a line is printed where there is no terminal.
const EVERY: Duration = Duration::from_secs(10);

/// Events that were checked, of all that the heads of the logs say.
pub struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    done: Cell<u64>,
    told: Cell<Instant>,
}

impl Progress {
    /// Of so many logs and events.
    pub fn new((_, events): (u64, u64)) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template =
                "{spinner} verifying {wide_bar} {human_pos}/{human_len} {per_sec}, {eta}";
            let style = ProgressStyle::with_template(template);
            let bar = ProgressBar::new(events);
            // A template of ours is well-formed; if it were not, the plain bar would do.
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, total: events, done: Cell::new(0), told: Cell::new(Instant::now()) }
    }

    /// So many events more.
    pub fn add(&self, events: u64) {
        self.done.set(self.done.get() + events);
        match &self.bar {
            Some(bar) => bar.inc(events),
            None if self.told.get().elapsed() >= EVERY => {
                self.told.set(Instant::now());
                eprintln!("{} of {} events", self.done.get(), self.total);
            }
            None => {}
        }
    }

    /// Prints a line to standard output, above the bar.
    pub fn print(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| println!("{line}")),
            None => println!("{line}"),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
