//! Events that a destination can never take.

use super::{LogStreams, Result, to_its_end};
use crate::domain::{
    caller::Caller,
    limits,
    log_stream::DeadLetter,
    page::{Order, PageDraft},
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
        let page = PageDraft { limit, order: Some(Order::Ascending), ..Default::default() };
        let limit = page.check(&mut violations).limit;
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
        let (this, by, sequences) = (self.clone(), caller.clone(), sequences.to_vec());
        to_its_end(async move {
            let count = this.store.redrive_dead_letters(&stream.key(), &sequences).await?;
            if count > 0 {
                this.changed.notify_one();
                let facts = vec![("count", count.into())];
                this.record(&by, &stream, "log_stream.dead_letters_redriven", facts).await;
            }
            Ok(count)
        })
        .await
    }
}
