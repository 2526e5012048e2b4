//! What a demo did.

use std::{fmt, path::PathBuf};

use indicatif::{HumanCount, HumanFloatCount};

/// What a demo did, in figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The organization whose log took the events.
    pub organization_id: String,
    /// How many events were acknowledged.
    pub events: u64,
    /// How many of them had been there before, so that they were not stored again.
    pub duplicates: u64,
    /// How many actions they have.
    pub actions: u64,
    /// How many rows the CSV file has.
    pub rows: u64,
    /// How long it took to send the events, in seconds.
    pub seconds_ingest: f64,
    /// How long it took to export and download, in seconds.
    pub seconds_export: f64,
    /// The CSV file.
    pub output: PathBuf,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (events, rows) = (HumanCount(self.events), HumanCount(self.rows));
        let (ingest, export) = (self.seconds_ingest, self.seconds_export);
        writeln!(f, "organization  {}", self.organization_id)?;
        writeln!(f, "actions       {}, each with a schema", HumanCount(self.actions))?;
        write!(f, "events        {events} acknowledged")?;
        if self.duplicates > 0 {
            write!(f, ", of which {} were there before", HumanCount(self.duplicates))?;
        }
        writeln!(f)?;
        writeln!(f, "rows          {rows} in {}", self.output.display())?;
        writeln!(f, "ingest        {} events/s ({ingest:.2} s)", rate(self.events, ingest))?;
        writeln!(f, "export        {} rows/s ({export:.2} s)", rate(self.rows, export))?;
        writeln!(f)?;
        writeln!(f, "Next: open the CSV, or run the service itself with `audit-logs serve`.")?;
        write!(f, "`audit-logs demo FILE` takes CloudTrail records of your own.")
    }
}

/// `count` per second, as text.
fn rate(count: u64, seconds: f64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
    let rate = count as f64 / seconds.max(f64::EPSILON);
    HumanFloatCount(rate.round()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_done() {
        let summary = Summary {
            organization_id: "org_1".into(),
            events: 2_900,
            duplicates: 0,
            actions: 262,
            rows: 2_900,
            seconds_ingest: 1.25,
            seconds_export: 0.5,
            output: "demo.csv".into(),
        };
        let text = summary.to_string();
        let expected = "organization  org_1\n\
                        actions       262, each with a schema\n\
                        events        2,900 acknowledged\n\
                        rows          2,900 in demo.csv\n\
                        ingest        2,320 events/s (1.25 s)\n\
                        export        5,800 rows/s (0.50 s)\n\n";
        assert!(text.starts_with(expected), "{text}");
        let again = Summary { duplicates: 2_900, ..summary }.to_string();
        assert!(again.contains("2,900 acknowledged, of which 2,900 were there before\n"));
    }
}
