//! Table `events`.

use sea_orm::{QueryFilter, Select, entity::prelude::*};

use crate::domain::ids::OrganizationId;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "events")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub sequence: i64,
    pub id: String,
    pub action: String,
    pub version: i64,
    pub occurred_at: i64,
    pub created_at: i64,
    pub actor_id: String,
    pub actor_name: Option<String>,
    pub target_types: String,
    pub target_ids: String,
    pub payload: Vec<u8>,
    pub salt: Vec<u8>,
    pub leaf_hash: Vec<u8>,
}

/// No relations: nothing is joined through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The rows of one organization. Every query starts here.
pub fn scoped(organization: &OrganizationId) -> Select<Entity> {
    Entity::find().filter(Column::OrganizationId.eq(organization.as_str()))
}
