//! Column types that mean the same on both engines.

use sea_orm_migration::{
    prelude::{ColumnDef, IntoIden, SchemaManager},
    sea_orm::DbBackend,
};

/// Makes columns for one engine.
pub struct Columns {
    backend: DbBackend,
}

impl Columns {
    pub fn of(manager: &SchemaManager<'_>) -> Self {
        Self { backend: manager.get_database_backend() }
    }

    /// Text that is compared byte by byte, whatever the locale of the database.
    pub fn text(&self, name: impl IntoIden) -> ColumnDef {
        let mut column = ColumnDef::new(name);
        column.text().not_null();
        if self.backend == DbBackend::Postgres {
            column.extra("COLLATE \"C\"");
        }
        column
    }

    /// The same, or NULL.
    pub fn optional_text(&self, name: impl IntoIden) -> ColumnDef {
        let mut column = ColumnDef::new(name);
        column.text().null();
        if self.backend == DbBackend::Postgres {
            column.extra("COLLATE \"C\"");
        }
        column
    }
}

/// A count, a sequence, or an instant in microseconds since the epoch.
pub fn integer(name: impl IntoIden) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    column.big_integer().not_null();
    column
}

/// The same, or NULL.
pub fn optional_integer(name: impl IntoIden) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    column.big_integer().null();
    column
}

/// Bytes of any length.
pub fn bytes(name: impl IntoIden) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    column.binary().not_null();
    column
}

/// The same, or NULL.
pub fn optional_bytes(name: impl IntoIden) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    column.binary().null();
    column
}
