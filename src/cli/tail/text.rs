//! An event as a line for people.

use std::fmt::Write;

use anstyle::{AnsiColor, Color};

use super::json::time;
use crate::proto::v1::EventRecord;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// With the colours of the terminal.
    Coloured,
}

const DIM: anstyle::Style = anstyle::Style::new().dimmed();
const ACTION: anstyle::Style = colour(AnsiColor::Green).bold();
const ACTOR: anstyle::Style = colour(AnsiColor::Cyan);
const TARGET: anstyle::Style = colour(AnsiColor::Yellow);

const fn colour(colour: AnsiColor) -> anstyle::Style {
    anstyle::Style::new().fg_color(Some(Color::Ansi(colour)))
}

/// The event on one line, without its end: sequence, time, action, actor, targets, location. Nothing is
/// cut off; what a terminal would act on, or show in another order than it stands there, is escaped.
pub fn line(record: &EventRecord, style: Style) -> String {
    let event = record.event.as_ref();
    let paint = |text: &str, with: anstyle::Style| match style {
        Style::Plain => text.to_owned(),
        Style::Coloured => format!("{with}{text}{with:#}"),
    };
    let occurred_at = time(event.and_then(|event| event.occurred_at.as_ref()));
    let mut line = paint(&format!("#{}", record.sequence), DIM);
    let mut add = |text: &str, with| {
        line.push_str("  ");
        line.push_str(&paint(text, with));
    };
    add(&occurred_at.unwrap_or_default(), DIM);
    let Some(event) = event else { return line };
    add(&escaped(&event.action), ACTION);
    if let Some(actor) = &event.actor {
        add(&party(&actor.r#type, &actor.id, &actor.name), ACTOR);
    }
    if !event.targets.is_empty() {
        let targets = event.targets.iter().map(|one| party(&one.r#type, &one.id, &one.name));
        add(&format!("-> {}", targets.collect::<Vec<_>>().join(", ")), TARGET);
    }
    if let Some(context) = &event.context {
        add(&format!("@ {}", escaped(&context.location)), DIM);
    }
    line
}

/// `user:user_1 "Ada"`.
fn party(kind: &str, id: &str, name: &str) -> String {
    let mut text = format!("{}:{}", escaped(kind), escaped(id));
    if !name.is_empty() {
        _ = write!(text, " \"{}\"", escaped(name));
    }
    text
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if is_treacherous(character) {
            escaped.extend(character.escape_unicode());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Control characters; what cannot be seen, breaks a line, or turns its direction (Unicode Standard
/// Annex 9, table 4).
pub(super) fn is_treacherous(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::{Actor, Context, Event, Target};

    fn record(actor: &str) -> EventRecord {
        let event = Event {
            action: "doc.read".to_owned(),
            occurred_at: Some(prost_types::Timestamp { seconds: 1, nanos: 500_000_000 }),
            actor: Some(Actor {
                id: actor.to_owned(),
                r#type: "user".to_owned(),
                name: "Ada".to_owned(),
                metadata: None,
            }),
            targets: ["1", "2"]
                .map(|id| Target {
                    id: id.to_owned(),
                    r#type: "doc".to_owned(),
                    ..Default::default()
                })
                .to_vec(),
            context: Some(Context { location: "::1".to_owned(), user_agent: String::new() }),
            ..Default::default()
        };
        EventRecord { sequence: 7, event: Some(event), ..Default::default() }
    }

    #[test]
    fn a_line_says_who_did_what_to_which_and_from_where() {
        let expected = "#7  1970-01-01T00:00:01.500000Z  doc.read  user:u1 \"Ada\"  \
                        -> doc:1, doc:2  @ ::1";
        assert_eq!(line(&record("u1"), Style::Plain), expected);
        let coloured = line(&record("u1"), Style::Coloured);
        assert!(coloured.contains("\u{1b}[") && coloured.contains("user:u1 \"Ada\""));
    }

    #[test]
    fn a_terminal_is_not_told_what_to_do() {
        let line = line(&record("\u{1b}[31m\n\u{202e}x\u{200b}"), Style::Plain);
        assert!(line.contains(r"user:\u{1b}[31m\u{a}\u{202e}x\u{200b} "), "{line}");
        assert!(!line.contains(is_treacherous));
    }
}
