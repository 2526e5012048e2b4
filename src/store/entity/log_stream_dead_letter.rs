//! `log_stream_dead_letters`.

use sea_orm::{EntityTrait, QueryFilter, Select, entity::prelude::*};

use crate::domain::log_stream::LogStreamKey;

/// An event that a destination did not take.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "log_stream_dead_letters")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub log_stream_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub sequence: i64,
    pub event_id: String,
    pub reason: String,
    pub redrives: i64,
    pub is_due: i64,
    pub created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Those of a log stream.
pub fn scoped(stream: &LogStreamKey) -> Select<Entity> {
    Entity::find()
        .filter(Column::OrganizationId.eq(stream.organization_id.as_str()))
        .filter(Column::LogStreamId.eq(stream.id.as_str()))
}
