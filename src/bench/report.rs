//! What was found, as Markdown for people and as JSON for programs.

use std::fmt::Write;

use serde::Serialize;

use super::{load::Rounds, machine::Machine};

/// Everything that a run found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where it ran.
    pub machine: Machine,
    /// What it found on each engine.
    pub engines: Vec<EngineReport>,
}

/// What was found on an engine.
#[derive(Debug, Serialize)]
pub struct EngineReport {
    /// The engine.
    pub engine: String,
    /// Its version and settings.
    pub settings: Vec<(String, String)>,
    /// The topics.
    pub sections: Vec<Section>,
}

/// What was found on a topic.
#[derive(Debug, Default, Serialize)]
pub struct Section {
    /// Heading.
    pub title: String,
    /// What the reader must know.
    pub note: String,
    /// Heads of the columns.
    pub header: Vec<&'static str>,
    /// The table.
    pub rows: Vec<Vec<String>>,
    /// What it had to reach.
    pub goals: Vec<Goal>,
    /// Every figure.
    pub points: Vec<Point>,
}

/// The rounds of one contender in one situation.
#[derive(Debug, Serialize)]
pub struct Point {
    /// The contender.
    pub contender: String,
    /// The situation.
    pub situation: String,
    /// Its figures.
    pub rounds: Rounds,
}

/// A ratio that has to be reached.
#[derive(Debug, Serialize)]
pub struct Goal {
    /// What is compared.
    pub what: String,
    /// What was found.
    pub ratio: f64,
    /// What it has to be compared with.
    pub bound: f64,
    /// Whether the ratio may not exceed the bound, instead of having to reach it.
    pub at_most: bool,
    /// Whether it was met.
    pub met: bool,
}

impl Goal {
    /// `ours` must be at least `bound` times `peer`.
    pub fn at_least(what: impl Into<String>, ours: f64, peer: f64, bound: f64) -> Self {
        let ratio = ratio(ours, peer);
        Self { what: what.into(), ratio, bound, at_most: false, met: ratio >= bound }
    }

    /// `ours` must be at most `bound` times `peer`.
    pub fn at_most(what: impl Into<String>, ours: f64, peer: f64, bound: f64) -> Self {
        let ratio = ratio(ours, peer);
        Self { what: what.into(), ratio, bound, at_most: true, met: ratio > 0.0 && ratio <= bound }
    }
}

impl Section {
    /// Notes figures.
    pub fn point(&mut self, contender: &str, situation: &str, rounds: &Rounds) {
        self.points.push(Point {
            contender: contender.to_owned(),
            situation: situation.to_owned(),
            rounds: rounds.clone(),
        });
    }
}

/// 0 where there is nothing to divide by.
pub fn ratio(ours: f64, peer: f64) -> f64 {
    if peer > 0.0 { ours / peer } else { 0.0 }
}

/// A ratio as text.
pub fn times(ours: f64, peer: f64) -> String {
    format!("{:.2}", ratio(ours, peer))
}

/// A count or rate with thousands separated.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Microseconds as milliseconds.
pub fn milliseconds(micros: f64) -> String {
    format!("{:.2} ms", micros / 1_000.0)
}

/// Bytes as MiB.
pub fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / 1_048_576.0)
}

const PREFACE: &str = "# Performance\n\n\
`audit-logs bench` wrote this. Each figure stands beside its peer, measured in the same run in turn; \
rates and times are medians over the rounds. Absolute figures depend on the machine: compare ratios.\n";

const CONTENDERS: &str = "\n## Contenders\n\n\
- **CreateEvent, BatchCreateEvents**: a real server in a process of its own, over gRPC. Client, server \
and database share the machine.\n\
- **Peer 1**: the same service done naively, straight on the database: validation, schema, canonical \
form and hashes, then per event one transaction that locks the head, looks for the idempotency key (if \
there is one), inserts and moves the head.\n\
- **Peer 2**: a bare one-row INSERT per commit, same columns and indexes; no validation, no order.\n\
- **Limit**: the same gRPC call to a server that decodes it, stores nothing and answers.\n\
- **Bulk peer**: binary COPY of 1,000 rows per commit (PostgreSQL), or 1,000 executions of a prepared \
INSERT in one transaction (SQLite), into a table with the same columns and indexes.\n\
- On PostgreSQL the peers use sqlx with at most 64 connections; on SQLite rusqlite on one writing \
thread, WAL, synchronous FULL.\n";

impl Report {
    /// As Markdown.
    pub fn markdown(&self) -> String {
        let mut text = PREFACE.to_owned();
        if self.machine.debug_build {
            text.push_str("\n**A debug build: the figures mean nothing.**\n");
        }
        text.push_str("\n## Goals\n");
        for engine in &self.engines {
            let goals: Vec<_> = engine.sections.iter().flat_map(|s| &s.goals).collect();
            if goals.is_empty() {
                continue;
            }
            let rows = goals.into_iter().map(|goal| {
                let bound = if goal.at_most { "at most" } else { "at least" };
                let met = if goal.met { "met" } else { "**missed**" };
                vec![
                    goal.what.clone(),
                    format!("{bound} {}", goal.bound),
                    format!("{:.2}", goal.ratio),
                    met.to_owned(),
                ]
            });
            _ = writeln!(text, "\n### {}\n", engine.engine);
            table(&mut text, &["goal", "ratio wanted", "measured", ""], rows);
        }
        for engine in &self.engines {
            _ = writeln!(text, "\n## {}", engine.engine);
            for section in &engine.sections {
                _ = writeln!(text, "\n### {}\n\n{}", section.title, section.note);
                if !section.rows.is_empty() {
                    text.push('\n');
                    table(&mut text, &section.header, section.rows.iter().cloned());
                }
            }
        }
        text.push_str(CONTENDERS);
        text.push_str("\n## Machine\n\n");
        let rows = self.machine.facts.iter().map(|(name, value)| vec![name.clone(), value.clone()]);
        table(&mut text, &["", ""], rows);
        for engine in &self.engines {
            _ = writeln!(text, "\n{}:\n", engine.engine);
            let rows =
                engine.settings.iter().map(|(name, value)| vec![name.clone(), value.clone()]);
            table(&mut text, &["setting", "value"], rows);
        }
        text
    }
}

fn table(text: &mut String, header: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    _ = writeln!(text, "| {} |", header.join(" | "));
    _ = writeln!(text, "|{}", " --- |".repeat(header.len()));
    for row in rows {
        _ = writeln!(text, "| {} |", row.join(" | "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_compare_as_they_say() {
        assert!(Goal::at_least("", 5.0, 2.0, 2.5).met && !Goal::at_least("", 4.9, 2.0, 2.5).met);
        assert!(Goal::at_most("", 1.3, 1.0, 1.3).met && !Goal::at_most("", 1.4, 1.0, 1.3).met);
        // Nothing measured is nothing reached.
        assert!(!Goal::at_most("", 0.0, 1.0, 1.3).met && !Goal::at_least("", 1.0, 0.0, 1.0).met);
    }

    #[test]
    fn numbers_are_grouped() {
        let grouped = [0.0, 999.4, 1_000.0, 1_234_567.0].map(super::grouped);
        assert_eq!(grouped, ["0", "999", "1,000", "1,234,567"]);
    }
}
