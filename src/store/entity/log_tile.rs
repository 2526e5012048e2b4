//! Table `log_tiles`.

use sea_orm::{QueryFilter, Select, entity::prelude::*};

use crate::domain::ids::OrganizationId;

/// A complete tile of a log's tree: 256 hashes and the root over them.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "log_tiles")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub level: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub tile: i64,
    pub hashes: Vec<u8>,
    pub root: Vec<u8>,
}

/// No relations: nothing is joined through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The rows of one organization. Every query starts here.
pub fn scoped(organization: &OrganizationId) -> Select<Entity> {
    Entity::find().filter(Column::OrganizationId.eq(organization.as_str()))
}
