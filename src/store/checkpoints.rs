//! The history of checkpoints, and which logs it lacks the newest of.

use sea_orm::{
    ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set,
    sea_query::{Expr, ExprTrait, OnConflict},
};

use super::{
    Result, Store,
    entity::{checkpoint, log_head},
    to_column,
    tree::frontier,
};
use crate::{
    domain::{ids::OrganizationId, timestamp::Timestamp},
    merkle::{Frontier, Hash},
};

/// What `checkpoints` lacks the newest of. The last checkpoint of a log is one step in the primary
/// key; a condition on all of them would look at each.
const GREW: &str = "log_heads.size > COALESCE((SELECT c.size FROM checkpoints AS c \
    WHERE c.organization_id = log_heads.organization_id ORDER BY c.minute DESC LIMIT 1), 0)";
const MICROS_PER_MINUTE: i64 = 60_000_000;

/// A log that grew since its last checkpoint in the history.
#[derive(Debug)]
pub struct GrownLog {
    /// Whose it is.
    pub organization: OrganizationId,
    /// Its tree; the error if the row was tampered with.
    pub head: Result<Frontier>,
}

/// A checkpoint for the history.
#[derive(Debug, Clone)]
pub struct StoredCheckpoint {
    /// Whose log's.
    pub organization: OrganizationId,
    /// Leaves of its tree.
    pub size: u64,
    /// Root of its tree.
    pub root: Hash,
    /// The signed note.
    pub note: String,
    /// When it was signed. The history keeps one for each minute.
    pub created_at: Timestamp,
}

impl Store {
    /// The next logs, at most `limit`, after that of `after` in the order of their ids, whose heads
    /// moved at or after `since` and beyond the newest checkpoint in the history. Looks at the heads
    /// in the order of their primary key; an index by time would cost every write.
    pub async fn grown_logs(
        &self,
        after: Option<&OrganizationId>,
        since: Timestamp,
        limit: u64,
    ) -> Result<Vec<GrownLog>> {
        use log_head::Column::{Frontier, OrganizationId as Organization, Size, UpdatedAt};
        let mut query = log_head::Entity::find()
            .select_only()
            .columns([Organization, Size, Frontier])
            .filter(UpdatedAt.gte(since.micros()))
            .filter(Expr::cust(GREW))
            .order_by_asc(Organization)
            .limit(limit);
        if let Some(after) = after {
            query = query.filter(Organization.gt(after.as_str()));
        }
        let rows = query.into_tuple::<(String, i64, Vec<u8>)>().all(self.scanner()).await?;
        let grown = rows.into_iter().map(|(organization, size, peaks)| GrownLog {
            organization: OrganizationId::from_stored(organization),
            head: frontier(size, &peaks),
        });
        Ok(grown.collect())
    }

    /// Adds checkpoints to the history. Where a log has one of the same minute, the larger stays, so
    /// that several replicas may do this at once. The checkpoints must be of different logs.
    pub async fn put_checkpoints(&self, checkpoints: Vec<StoredCheckpoint>) -> Result<()> {
        use checkpoint::Column::{CreatedAt, Minute, Note, OrganizationId, Root, Size};
        if checkpoints.is_empty() {
            return Ok(());
        }
        let rows = checkpoints.into_iter().map(|checkpoint| checkpoint::ActiveModel {
            organization_id: Set(checkpoint.organization.as_str().to_owned()),
            minute: Set(checkpoint.created_at.micros().div_euclid(MICROS_PER_MINUTE)),
            size: Set(to_column(checkpoint.size)),
            root: Set(checkpoint.root.to_vec()),
            note: Set(checkpoint.note),
            created_at: Set(checkpoint.created_at.micros()),
        });
        let is_larger = Expr::col(("excluded", Size)).gt(Expr::col((checkpoint::Entity, Size)));
        let mut conflict = OnConflict::columns([OrganizationId, Minute]);
        conflict.update_columns([Size, Root, Note, CreatedAt]).action_and_where(is_larger);
        checkpoint::Entity::insert_many(rows)
            .on_conflict(conflict)
            .exec_without_returning(self.writer())
            .await?;
        Ok(())
    }
}
