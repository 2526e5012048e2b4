//! Table `action_schemas`.

use sea_orm::{QueryFilter, Select, entity::prelude::*};

use crate::domain::ids::EnvironmentId;

/// A version of an action's schema.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "action_schemas")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub environment_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub action_name: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub version: i64,
    pub definition: String,
    pub fingerprint: Vec<u8>,
    pub created_at: i64,
}

/// No relations: nothing is joined through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The rows of one environment. Every query starts here.
pub fn scoped(environment: &EnvironmentId) -> Select<Entity> {
    Entity::find().filter(Column::EnvironmentId.eq(environment.as_str()))
}
