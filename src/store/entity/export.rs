//! Table `exports`.

use sea_orm::{QueryFilter, Select, entity::prelude::*};

use crate::domain::ids::EnvironmentId;

/// An export job.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "exports")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub environment_id: String,
    pub organization_id: String,
    pub state: String,
    pub tree_size: i64,
    pub range_start: i64,
    pub range_end: i64,
    pub filter: String,
    pub rows_written: i64,
    pub bytes_written: i64,
    pub estimated_rows: i64,
    pub error: Option<String>,
    pub download_secret: Vec<u8>,
    pub lease_owner: Option<String>,
    pub lease_until: i64,
    pub attempts: i64,
    pub created_at: i64,
    pub updated_at: i64,
    pub format: String,
    pub compression: String,
    pub leased_at: i64,
    pub is_upper_bound: i64,
    pub remains: Option<String>,
    pub failures: i64,
    pub silent_ends: i64,
    pub last_failure: Option<String>,
}

/// No relations: nothing is joined through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The rows of one environment. Every query starts here.
pub fn scoped(environment: &EnvironmentId) -> Select<Entity> {
    Entity::find().filter(Column::EnvironmentId.eq(environment.as_str()))
}
