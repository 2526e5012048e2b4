//! Building the trees of logs that were written before there were trees.

use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, Set, Statement, Value,
};
use tracing::{error, info};

use super::{
    Result, Store,
    entity::{checkpoint, event, log_head, log_tile},
    pool::Transaction,
    to_column,
};
use crate::{
    domain::ids::OrganizationId,
    merkle::rebuild::{FullTile, Rebuild},
};

/// Leaves that one statement reads.
const PAGE: u64 = 4_096;

impl Store {
    /// Gives every log that has events and no tree its tiles and its frontier: one transaction for
    /// each log, in bounded memory. One whose events are not complete is left as it is, with an error
    /// in the log: it takes no events until `audit-logs verify database` has told what is wrong and
    /// somebody has seen to it.
    pub(super) async fn build_missing_trees(&self) -> Result<()> {
        const SQL: &str = "SELECT MIN(organization_id) FROM log_heads \
            WHERE organization_id > $1 AND size > 0 AND LENGTH(frontier) = 0";
        let mut after = String::new();
        loop {
            let values = [Value::from(after.as_str())];
            let next = Statement::from_sql_and_values(self.engine.backend(), SQL, values);
            let row = self.writer().query_one_raw(next).await?;
            let next: Option<String> =
                row.map(|row| row.try_get_by_index(0)).transpose()?.flatten();
            let Some(next) = next else { return Ok(()) };
            self.build_tree(&OrganizationId::from_stored(next.as_str())).await?;
            after = next;
        }
    }

    async fn build_tree(&self, organization: &OrganizationId) -> Result<()> {
        let transaction = self.begin().await?;
        let head = log_head::scoped(organization).lock_exclusive().one(&transaction).await?;
        // Another replica may have built it meanwhile.
        let Some(head) = head.filter(|head| head.frontier.is_empty()) else { return Ok(()) };
        // A log that had a tree and has lost its frontier was tampered with. Building it a tree of what
        // is there now would cover that up.
        let tile = log_tile::scoped(organization).one(&transaction).await?;
        let signed = checkpoint::scoped(organization).one(&transaction).await?;
        if tile.is_some() || signed.is_some() {
            error!(%organization, "the frontier of a log is gone; run `audit-logs verify database`");
            return Ok(());
        }
        let mut tree = Rebuild::default();
        while to_column(tree.frontier().size()) < head.size {
            if !grow(&transaction, organization, &mut tree, head.size).await? {
                let sequence = tree.frontier().size();
                error!(
                    %organization, sequence,
                    "a log has no tree, and cannot get one: an event is missing"
                );
                return Ok(());
            }
        }
        let size = head.size;
        let mut head: log_head::ActiveModel = head.into();
        head.frontier = Set(tree.frontier().to_bytes());
        head.update(&transaction).await?;
        transaction.commit().await?;
        info!(%organization, size, "a log has its tree");
        Ok(())
    }
}

/// Appends the next leaves of a log to its tree, and stores the tiles that become full. False if the
/// next event is not there, or has no leaf hash.
async fn grow(
    transaction: &Transaction,
    organization: &OrganizationId,
    tree: &mut Rebuild,
    size: i64,
) -> Result<bool> {
    use event::Column::{LeafHash, Sequence};
    let leaves = event::scoped(organization)
        .filter(Sequence.gte(to_column(tree.frontier().size())))
        .filter(Sequence.lt(size))
        .select_only()
        .columns([Sequence, LeafHash])
        .order_by_asc(Sequence)
        .limit(PAGE)
        .into_tuple::<(i64, Vec<u8>)>()
        .all(transaction)
        .await?;
    let found = !leaves.is_empty();
    for (sequence, leaf) in leaves {
        let leaf = leaf.try_into().ok();
        let Some(leaf) = leaf.filter(|_| sequence == to_column(tree.frontier().size())) else {
            return Ok(false);
        };
        for tile in tree.push(leaf) {
            store_tile(transaction, organization, tile).await?;
        }
    }
    Ok(found)
}

async fn store_tile(
    transaction: &Transaction,
    organization: &OrganizationId,
    full: FullTile,
) -> Result<()> {
    let row = log_tile::ActiveModel {
        organization_id: Set(organization.as_str().to_owned()),
        level: Set(i64::from(full.tile.level)),
        tile: Set(to_column(full.tile.index)),
        hashes: Set(full.hashes.concat()),
        root: Set(full.root.to_vec()),
    };
    log_tile::Entity::insert(row).exec_without_returning(transaction).await?;
    Ok(())
}
