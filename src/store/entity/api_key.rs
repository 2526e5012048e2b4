//! Table `api_keys`.

use sea_orm::{QueryFilter, Select, entity::prelude::*};

use crate::domain::ids::EnvironmentId;

/// An API key.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_keys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub environment_id: String,
    pub name: String,
    pub value_hash: Vec<u8>,
    pub hint: String,
    pub scopes: String,
    pub organization_ids: String,
    pub created_at: i64,
    pub revoked_at: Option<i64>,
    pub last_used_at: Option<i64>,
}

/// No relations: nothing is joined through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The rows of one environment. Every query starts here.
pub fn scoped(environment: &EnvironmentId) -> Select<Entity> {
    Entity::find().filter(Column::EnvironmentId.eq(environment.as_str()))
}
