//! Events that a destination can never take.

use super::{LogStreams, Result};
use crate::domain::{
    caller::Caller,
    limits,
    log_stream::DeadLetter,
    permissions::Operation,
    violation::{Reason, Violations},
};

/// A page of dead letters.
#[derive(Debug)]
pub struct DeadLetterPage {
    /// The dead letters, in the order of the log.
    pub letters: Vec<DeadLetter>,
    /// After which sequence the next page begins; `None` at the end.
    pub next_after: Option<u64>,
}

impl LogStreams {
    /// A page of the dead letters after a sequence.
    pub async fn dead_letters(
        &self,
        caller: &Caller,
        id: &str,
        limit: i32,
        after: Option<u64>,
    ) -> Result<DeadLetterPage> {
        let mut violations = Violations::default();
        let limit = match u32::try_from(limit) {
            Ok(0) => limits::PAGE_DEFAULT,
            Ok(limit) if limit <= limits::PAGE => limit,
            _ => {
                violations.add("limit", Reason::OutOfRange, "limit must be 1 to 100");
                limits::PAGE_DEFAULT
            }
        };
        let stream = self.find(caller, Operation::ListDeadLetters, id).await?.stream;
        violations.into_result(())?;
        let wanted = u64::from(limit);
        // One more tells whether there is another page.
        let mut letters = self.store.list_dead_letters(&stream.key(), after, wanted + 1).await?;
        let more = letters.len() as u64 > wanted;
        if more {
            letters.pop();
        }
        let next_after = letters.last().filter(|_| more).map(|last| last.sequence);
        Ok(DeadLetterPage { letters, next_after })
    }

    /// Has dead letters sent again: those of some sequences, or all. Returns how many.
    pub async fn redrive(&self, caller: &Caller, id: &str, sequences: &[u64]) -> Result<u64> {
        let mut violations = Violations::default();
        if sequences.len() > limits::REDRIVES {
            let description = format!("sequences must have at most {} entries", limits::REDRIVES);
            violations.add("sequences", Reason::TooMany, description);
        }
        let stream = self.find(caller, Operation::RedriveDeadLetters, id).await?.stream;
        violations.into_result(())?;
        let count = self.store.redrive_dead_letters(&stream.key(), sequences).await?;
        if count > 0 {
            self.changed.notify_one();
            let facts = vec![("count", count.into())];
            self.record(caller, &stream, "log_stream.dead_letters_redriven", facts).await;
        }
        Ok(count)
    }
}
