//! Table `checkpoints`.

use sea_orm::{QueryFilter, Select, entity::prelude::*};

use crate::domain::ids::OrganizationId;

/// The last checkpoint of a log in one minute.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "checkpoints")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub minute: i64,
    pub size: i64,
    pub root: Vec<u8>,
    pub note: String,
    pub created_at: i64,
}

/// No relations: nothing is joined through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The rows of one organization. Every query of one log starts here.
pub fn scoped(organization: &OrganizationId) -> Select<Entity> {
    Entity::find().filter(Column::OrganizationId.eq(organization.as_str()))
}
