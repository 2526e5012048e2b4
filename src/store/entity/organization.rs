//! Table `organizations`.

use sea_orm::{QueryFilter, Select, entity::prelude::*};

use crate::domain::ids::EnvironmentId;

/// An organization.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "organizations")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub environment_id: String,
    pub cursor: String,
    pub name: String,
    pub retention_days: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
    pub deleted_at: Option<i64>,
    pub external_id: Option<String>,
    pub metadata: String,
    pub domains: String,
}

/// No relations: nothing is joined through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The rows of one environment. Every query starts here.
pub fn scoped(environment: &EnvironmentId) -> Select<Entity> {
    Entity::find().filter(Column::EnvironmentId.eq(environment.as_str()))
}
