//! `log_streams`.

use sea_orm::{EntityTrait, QueryFilter, Select, entity::prelude::*};

use crate::domain::{ids::EnvironmentId, log_stream::LogStreamKey};

/// What forwards a log, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "log_streams")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub environment_id: String,
    pub name: String,
    pub destination: String,
    pub ca_certificates_pem: String,
    pub secrets: Option<Vec<u8>>,
    pub payload: String,
    pub state: String,
    pub next_sequence: i64,
    pub generation: i64,
    pub revision: i64,
    pub last_success_at: Option<i64>,
    pub last_error: String,
    pub last_error_at: Option<i64>,
    pub consecutive_failures: i64,
    pub next_attempt_at: Option<i64>,
    pub delivered_events: i64,
    pub delivered_bytes: i64,
    pub lease_owner: Option<String>,
    pub lease_until: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Those of an environment.
pub fn scoped(environment: &EnvironmentId) -> Select<Entity> {
    Entity::find().filter(Column::EnvironmentId.eq(environment.as_str()))
}

/// The one with that key.
pub fn named(key: &LogStreamKey) -> Select<Entity> {
    Entity::find()
        .filter(Column::OrganizationId.eq(key.organization_id.as_str()))
        .filter(Column::Id.eq(key.id.as_str()))
}
