//! Table `log_retention`.

use sea_orm::{QueryFilter, Select, entity::prelude::*};

use crate::domain::ids::OrganizationId;

/// How far an organization's log is erased, and whether it is held. An organization of which nothing
/// was ever erased or held has no row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "log_retention")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: String,
    pub erased_below: i64,
    pub deleted_below: i64,
    pub held_at: Option<i64>,
    pub hold_reason: Option<String>,
}

/// No relations: nothing is joined through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The rows of one organization. Every query starts here.
pub fn scoped(organization: &OrganizationId) -> Select<Entity> {
    Entity::find().filter(Column::OrganizationId.eq(organization.as_str()))
}
