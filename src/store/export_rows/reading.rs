//! Where the reading of an export is, and the statements that take it on.

use sea_orm::{
    ColumnTrait, Condition, ExprTrait, QueryOrder, QuerySelect, QueryTrait, Statement,
    sea_query::Expr,
};

use super::{ExportOrder, Piece, Place, ROWS, range, tenant};
use crate::{
    domain::{
        export::Export,
        filter::{EventFilter, EventRange},
        timestamp::Timestamp,
    },
    store::{
        Engine,
        entity::event::Column::{self, LeafHash, OccurredAt, Payload, Salt, Sequence},
        events::{matching, selection},
        to_column,
    },
};

/// Rows that a statement looks at, at most, whether they match or not: one that looks for what is rare
/// would run for minutes, until the server ends it.
const SPAN: i64 = 32_768;

/// How far a statement looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Span {
    /// That is not known yet.
    Unknown,
    /// To this row, which is one of those that it looks at.
    Until(Place),
    /// To the end of what the export selects.
    Rest,
}

/// A place in the log, and what is read from there on.
pub(super) struct Reading {
    engine: Engine,
    export: Export,
    pub(super) order: ExportOrder,
    /// The last row that was looked at.
    after: Option<Place>,
    span: Span,
}

impl Reading {
    /// At the beginning of an export. Nothing is there below the sequence `first`.
    pub(super) fn new(engine: Engine, export: &Export, order: ExportOrder, first: u64) -> Self {
        let skips = order == ExportOrder::Sequence && first > 0;
        let after = skips.then(|| (0, to_column(first - 1)));
        Self { engine, export: export.clone(), order, after, span: Span::Unknown }
    }

    /// What finds out how far the next piece may look, if that takes a look at the database:
    /// `occurred_at` and sequence of the row that [`Self::look_until`] is then to be told.
    pub(super) fn look_ahead(&mut self) -> Option<Statement> {
        if self.span != Span::Unknown {
            return None;
        }
        match self.order {
            ExportOrder::Sequence => {
                let last = self.after.map_or(-1, |(_, sequence)| sequence).saturating_add(SPAN);
                let is_rest = last.saturating_add(1) >= to_column(self.export.tree_size);
                self.span = if is_rest { Span::Rest } else { Span::Until((0, last)) };
                None
            }
            // All that is looked at is found, but for what came after the export was asked for.
            ExportOrder::Time if self.export.filter.is_empty() => {
                self.span = Span::Rest;
                None
            }
            ExportOrder::Time => {
                let everything = EventFilter::default();
                let query = self.query(&everything, &[OccurredAt, Sequence]);
                let offset = SPAN.unsigned_abs() - 1;
                Some(query.offset(offset).limit(1).build(self.engine.backend()))
            }
        }
    }

    /// The next piece looks at no row behind this one; `None` if there are none behind that could matter.
    pub(super) fn look_until(&mut self, end: Option<Place>) {
        self.span = end.map_or(Span::Rest, Span::Until);
    }

    /// Reads the next piece: `occurred_at`, sequence, payload and, in the order of the log, salt and leaf
    /// hash.
    pub(super) fn piece(&self) -> Statement {
        let columns: &[Column] = match self.order {
            ExportOrder::Time => &[OccurredAt, Sequence, Payload],
            ExportOrder::Sequence => &[OccurredAt, Sequence, Payload, Salt, LeafHash],
        };
        let query = self.query(&self.export.filter, columns);
        query.limit(ROWS as u64).build(self.engine.backend())
    }

    /// Goes on behind a piece. Returns whether there is more to look at.
    pub(super) fn advance(&mut self, piece: &Piece) -> bool {
        if piece.is_full {
            self.after = piece.last;
            return true;
        }
        match std::mem::replace(&mut self.span, Span::Unknown) {
            Span::Until(end) => {
                self.after = Some(end);
                true
            }
            Span::Rest | Span::Unknown => false,
        }
    }

    /// The rows that come next, in order. Bounds on the other column than that of the order are hidden
    /// from indexes: a plan that took one of those would sort the rest of the log for every piece.
    fn query(
        &self,
        filter: &EventFilter,
        columns: &[Column],
    ) -> sea_orm::Select<super::event::Entity> {
        let mut range = range(&self.export);
        let until = if let Span::Until(place) = self.span { Some(place) } else { None };
        let (mut start, mut end) = (None, None);
        match self.order {
            ExportOrder::Time => {
                let key = || Expr::tuple([Expr::col(OccurredAt), Expr::col(Sequence)]);
                let value = |(at, sequence): Place| Expr::tuple([at, sequence].map(Expr::val));
                if let Some(after) = self.after {
                    range.occurred_from = Some(Timestamp::from_micros(after.0));
                    start = Some(key().gt(value(after)));
                }
                if let Some(until) = until {
                    range.occurred_until = Some(Timestamp::from_micros(until.0));
                    end = Some(key().lte(value(until)));
                }
            }
            ExportOrder::Sequence => {
                start = self.after.map(|(_, sequence)| Sequence.gt(sequence));
                end = until.map(|(_, sequence)| Sequence.lte(sequence));
            }
        }
        let times = EventRange { sequence_from: None, sequence_until: None, ..range };
        let sequences = EventRange { occurred_from: None, occurred_until: None, ..range };
        let (shown, hidden, key): (_, _, &[Column]) = match self.order {
            ExportOrder::Time => (times, sequences, &[OccurredAt, Sequence]),
            ExportOrder::Sequence => (sequences, times, &[Sequence]),
        };
        let condition = matching(self.engine, filter, &shown)
            .add(beside_indexes(&hidden))
            .add_option(start)
            .add_option(end);
        let rows = selection(self.engine, &tenant(&self.export), condition);
        let rows = rows.select_only().columns(columns.to_vec());
        key.iter().fold(rows, |rows, column| rows.order_by_asc(*column))
    }
}

/// The bounds of a range, written so that no index serves them.
fn beside_indexes(range: &EventRange) -> Condition {
    let column = |column| Expr::col(column).add(0);
    let (time, sequence) = (|| column(OccurredAt), || column(Sequence));
    Condition::all()
        .add_option(range.occurred_from.map(|from| time().gte(from.micros())))
        .add_option(range.occurred_until.map(|until| time().lte(until.micros())))
        .add_option(range.sequence_from.map(|from| sequence().gte(to_column(from))))
        .add_option(range.sequence_until.map(|until| sequence().lte(to_column(until))))
}
