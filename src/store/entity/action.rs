//! Table `actions`.

use sea_orm::{QueryFilter, Select, entity::prelude::*};

use crate::domain::ids::EnvironmentId;

/// An action.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "actions")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub environment_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub cursor: String,
    pub latest_version: i64,
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
