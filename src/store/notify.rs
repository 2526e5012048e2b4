//! Messages from replica to replica over PostgreSQL's LISTEN and NOTIFY. They are hints: they may get
//! lost, and a pooler in front of the database may swallow all of them.

use sea_orm::{ConnectionTrait, Statement};
use sqlx::postgres::{PgListener, PgPoolOptions};

use super::{Result, Store, StoreError, pool::Losses};

/// The channel of all replicas on one database.
const CHANNEL: &str = "audit_logs";

/// Most bytes of one message: PostgreSQL takes less than 8,000 (documentation, NOTIFY).
pub const MESSAGE_BYTES: usize = 7_900;

/// A connection that hears what replicas tell, this one's own messages among them.
#[derive(Debug)]
pub struct Listener(PgListener, Losses);

impl Store {
    /// Whether replicas can tell each other something through this database.
    pub fn carries_messages(&self) -> bool {
        self.engine.carries_messages()
    }

    /// Begins to listen, over a connection of its own.
    pub async fn listen(&self) -> Result<Listener> {
        let options = self.writer().postgres().connect_options();
        let pool = PgPoolOptions::new().max_connections(1);
        let pool = pool.connect_lazy_with(options.as_ref().clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(Listener(listener, self.writer().losses().clone()))
    }

    /// Tells all who listen. A message has at most [`MESSAGE_BYTES`].
    pub async fn tell(&self, messages: Vec<String>) -> Result<()> {
        // A transaction that notifies is written to the log; nobody needs to wait for the disk.
        let sql = "SELECT set_config('synchronous_commit', 'off', true), \
                   count(pg_notify($1, message)) FROM unnest($2::text[]) AS message";
        let values = [CHANNEL.into(), messages.into()];
        let statement = Statement::from_sql_and_values(self.engine.backend(), sql, values);
        self.writer().query_one_raw(statement).await?;
        Ok(())
    }
}

impl Listener {
    /// The next message; `None` when the connection was lost, and messages with it.
    pub async fn next(&mut self) -> Result<Option<String>> {
        let Self(listener, losses) = self;
        let heard = async { Ok::<_, StoreError>(listener.try_recv().await?) };
        Ok(losses.unless_lost(heard).await?.map(|message| message.payload().to_owned()))
    }
}
