//! Which events of a log are wanted.

use serde::{Deserialize, Serialize};

use super::{
    event::{Event, Party},
    event_draft::TimeDraft,
    limits,
    page::{PageDraft, PageRequest},
    timestamp::Timestamp,
    violation::{Reason, Violation, Violations},
};

/// Selects by content: all lists that are not empty must match; within a list any value may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFilter {
    /// Names of actions.
    pub actions: Vec<String>,
    /// Ids of actors.
    pub actor_ids: Vec<String>,
    /// Names of actors, exactly.
    pub actor_names: Vec<String>,
    /// Types of targets.
    pub target_types: Vec<String>,
    /// Ids of targets.
    pub target_ids: Vec<String>,
}

impl EventFilter {
    /// Whether every event matches.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an event matches, as the database would say.
    pub fn matches(&self, event: &Event) -> bool {
        self.mismatch(event).is_none()
    }

    /// What of an event does not match, as a noun; `None` if it matches.
    pub fn mismatch(&self, event: &Event) -> Option<&'static str> {
        let any = |values: &[String], value: &str| {
            values.is_empty() || values.iter().any(|wanted| wanted == value)
        };
        let any_target = |values: &[String], part: fn(&Party) -> &str| {
            values.is_empty() || event.targets.iter().any(|target| any(values, part(target)))
        };
        if !any(&self.actions, &event.action) {
            Some("action")
        } else if !any(&self.actor_ids, &event.actor.id) {
            Some("actor id")
        } else if !self.actor_names.is_empty()
            && !event.actor.name.as_ref().is_some_and(|name| self.actor_names.contains(name))
        {
            Some("actor name")
        } else if !any_target(&self.target_types, |target| &target.kind) {
            Some("target types")
        } else if !any_target(&self.target_ids, |target| &target.id) {
            Some("target ids")
        } else {
            None
        }
    }

    /// The names of the lists that are not empty, separated by spaces.
    pub fn kinds(&self) -> String {
        let lists = [
            ("actions", &self.actions),
            ("actor_ids", &self.actor_ids),
            ("actor_names", &self.actor_names),
            ("target_types", &self.target_types),
            ("target_ids", &self.target_ids),
        ];
        let used = lists.iter().filter(|(_, values)| !values.is_empty()).map(|(name, _)| *name);
        used.collect::<Vec<_>>().join(" ")
    }

    /// Checks the number and form of the values.
    pub fn check(&self, violations: &mut Violations) {
        let lists = [
            ("actions", &self.actions, limits::SHORT_TEXT_CHARS),
            ("actor_ids", &self.actor_ids, limits::ID_CHARS),
            ("actor_names", &self.actor_names, limits::NAME_CHARS),
            ("target_types", &self.target_types, limits::TYPE_CHARS),
            ("target_ids", &self.target_ids, limits::ID_CHARS),
        ];
        for (name, values, longest) in lists {
            if values.len() > limits::FILTER_VALUES {
                let description =
                    format!("{name} must have at most {} values", limits::FILTER_VALUES);
                violations.add(name, Reason::TooMany, description);
                continue;
            }
            for (index, value) in values.iter().enumerate() {
                violations.required_text(format_args!("{name}[{index}]"), value, longest);
            }
        }
    }
}

/// Which page of a log's events is wanted, as sent.
#[derive(Debug, Clone, Default)]
pub struct EventQueryDraft {
    /// By content.
    pub filter: EventFilter,
    /// Earliest `occurred_at`, inclusive.
    pub range_start: TimeDraft,
    /// Latest `occurred_at`, inclusive.
    pub range_end: TimeDraft,
    /// Lowest sequence, inclusive.
    pub sequence_start: Option<u64>,
    /// Highest sequence, inclusive.
    pub sequence_end: Option<u64>,
    /// The page.
    pub page: PageDraft,
}

impl EventQueryDraft {
    /// Checks everything at once.
    pub fn validate(self) -> Result<(EventFilter, EventRange, PageRequest), Vec<Violation>> {
        let mut violations = Violations::default();
        self.filter.check(&mut violations);
        let range = EventRange::from_drafts(
            self.range_start,
            self.range_end,
            self.sequence_start,
            self.sequence_end,
            &mut violations,
        );
        let page = self.page.check(&mut violations);
        violations.into_result((self.filter, range, page))
    }
}

/// Selects by time and place. Every bound is inclusive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventRange {
    /// Earliest `occurred_at`.
    pub occurred_from: Option<Timestamp>,
    /// Latest `occurred_at`.
    pub occurred_until: Option<Timestamp>,
    /// Lowest sequence.
    pub sequence_from: Option<u64>,
    /// Highest sequence.
    pub sequence_until: Option<u64>,
}

impl EventRange {
    /// Checks the optional bounds of a list.
    fn from_drafts(
        start: TimeDraft,
        end: TimeDraft,
        sequence_from: Option<u64>,
        sequence_until: Option<u64>,
        violations: &mut Violations,
    ) -> Self {
        let occurred_from = start.optional("range_start", violations);
        let occurred_until = end.optional("range_end", violations);
        if let (Some(start), Some(end)) = (occurred_from, occurred_until)
            && start > end
        {
            let description = "range_end must not be before range_start";
            violations.add("range_end", Reason::OutOfRange, description);
        }
        if let (Some(from), Some(until)) = (sequence_from, sequence_until)
            && from > until
        {
            let description = "sequence_end must not be below sequence_start";
            violations.add("sequence_end", Reason::OutOfRange, description);
        }
        Self { occurred_from, occurred_until, sequence_from, sequence_until }
    }
}

/// The range of an export: both ends are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportRange {
    /// Earliest `occurred_at`, inclusive.
    pub start: Timestamp,
    /// Latest `occurred_at`, inclusive.
    pub end: Timestamp,
}

impl ExportRange {
    /// Checks that both ends are there, are times, and are in order.
    pub fn check(start: TimeDraft, end: TimeDraft) -> Result<Self, Vec<Violation>> {
        let mut violations = Violations::default();
        let start = start.required("range_start", &mut violations);
        let end = end.required("range_end", &mut violations);
        let (Some(start), Some(end)) = (start, end) else {
            return Err(violations.into_found());
        };
        if start > end {
            let description = "range_end must not be before range_start";
            violations.add("range_end", Reason::OutOfRange, description);
        }
        violations.into_result(Self { start, end })
    }
}
