//! Progress bars, for people: there are none where stderr is no terminal.

use std::{fmt, io::IsTerminal, time::Duration};

use indicatif::{
    HumanBytes, HumanDuration, HumanFloatCount, ProgressBar, ProgressState, ProgressStyle,
};

use crate::proto::v1::Export;

/// How often a bar moves on its own, so that waiting does not look like a hang.
const TICK: Duration = Duration::from_millis(120);

const WAITING: &str = "{spinner} {prefix} {msg}";
const COUNTING: &str = "{spinner} {prefix} {wide_bar} {human_pos}/{human_len} {rate} {msg}";

const EXPORTING: &str = "{spinner} {prefix} {wide_bar} {human_pos}/{human_len} {rate} {msg} {left}";

/// The progress of an export, as the service tells it.
pub struct ExportBar(ProgressBar);

impl ExportBar {
    /// Shows that an export was asked for.
    pub fn new() -> Self {
        Self(bar(ProgressBar::new_spinner(), "exporting", WAITING))
    }

    /// Shows the state of the export.
    pub fn update(&self, export: &Export) {
        if export.estimated_rows == 0 {
            self.0.set_message("waiting for a worker");
            return;
        }
        let bytes = HumanBytes(export.bytes_written);
        if export.estimate_is_upper_bound {
            self.0.set_message(format!("{bytes}, at most"));
        } else {
            self.0.set_message(bytes.to_string());
        }
        if self.0.length().is_none() {
            self.0.set_style(style(EXPORTING));
        }
        self.0.set_length(export.estimated_rows);
        self.0.set_position(export.rows_written);
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Default for ExportBar {
    fn default() -> Self {
        Self::new()
    }
}

/// The progress towards that many events.
pub fn ingestion_bar(events: u64) -> ProgressBar {
    bar(ProgressBar::new(events), "ingesting", COUNTING)
}

fn bar(bar: ProgressBar, prefix: &'static str, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    bar.set_prefix(prefix);
    bar.set_style(style(template));
    bar.enable_steady_tick(TICK);
    bar
}

fn style(template: &str) -> ProgressStyle {
    // A template of ours is well-formed; if it were not, the plain bar would do.
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let style = style.with_key("left", |state: &ProgressState, out: &mut dyn fmt::Write| {
        let _ = write!(out, "{:#} left", HumanDuration(state.eta()));
    });
    style.with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
        // A bar that cannot be drawn is no reason to stop.
        let _ = write!(out, "{}/s", HumanFloatCount(state.per_sec().round()));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_well_formed() {
        for template in [WAITING, COUNTING, EXPORTING] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn follows_the_export() {
        let bar = ExportBar(ProgressBar::hidden());
        bar.update(&Export::default());
        assert_eq!((bar.0.position(), bar.0.message().as_str()), (0, "waiting for a worker"));
        let export = Export {
            rows_written: 250,
            estimated_rows: 1_000,
            bytes_written: 2_048,
            ..Export::default()
        };
        bar.update(&export);
        assert_eq!((bar.0.position(), bar.0.length()), (250, Some(1_000)));
        assert_eq!(bar.0.message(), "2.00 KiB");
        // Further filters: nobody counts beforehand.
        bar.update(&Export { estimate_is_upper_bound: true, ..export });
        assert_eq!(bar.0.message(), "2.00 KiB, at most");
        bar.finish();
        assert!(bar.0.is_finished());
    }
}
