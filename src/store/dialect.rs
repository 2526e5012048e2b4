//! Where SQLite and PostgreSQL differ. The only place that asks which engine it is.

use sea_orm::{
    DbBackend, ExprTrait, Statement, Value,
    sea_query::{ArrayType, Expr, SimpleExpr},
};

use super::{Result, StoreError};

/// A database engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Embedded.
    Sqlite,
    /// A server, for several replicas.
    Postgres,
}

/// A column of a statement that inserts many rows: its name, its PostgreSQL type, its values.
pub(super) struct ColumnOfRows {
    pub name: &'static str,
    pub kind: ColumnKind,
    pub values: Vec<Value>,
}

/// The types that such columns have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnKind {
    Text,
    /// Text in which the empty string stands for NULL.
    OptionalText,
    Integer,
    Bytes,
}

impl ColumnKind {
    fn postgres(self) -> (&'static str, ArrayType) {
        match self {
            Self::Text | Self::OptionalText => ("text", ArrayType::String),
            Self::Integer => ("bigint", ArrayType::BigInt),
            Self::Bytes => ("bytea", ArrayType::Bytes),
        }
    }

    fn selected(self, expression: &str) -> String {
        match self {
            Self::OptionalText => format!("NULLIF({expression}, '')"),
            _ => expression.to_owned(),
        }
    }
}

impl Engine {
    /// The engine that a database URL names.
    pub fn of_url(url: &str) -> Result<Self> {
        match url.split(':').next() {
            Some("sqlite") => Ok(Self::Sqlite),
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            // The URL itself may hold a password: it is not repeated.
            _ => Err(StoreError::Setting(
                "database_url must start with sqlite:// or postgres://".to_owned(),
            )),
        }
    }

    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }

    pub(super) const fn backend(self) -> DbBackend {
        match self {
            Self::Sqlite => DbBackend::Sqlite,
            Self::Postgres => DbBackend::Postgres,
        }
    }

    /// Whether migrations have ever run, as one boolean.
    pub(super) fn migration_table_exists(self) -> Statement {
        let sql = match self {
            Self::Sqlite => {
                "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'seaql_migrations')"
            }
            Self::Postgres => "SELECT to_regclass('seaql_migrations') IS NOT NULL",
        };
        Statement::from_string(self.backend(), sql)
    }

    /// Statements whose one value tells when a commit returns.
    pub(super) const fn durability_questions(self) -> &'static [&'static str] {
        match self {
            Self::Sqlite => &[
                "SELECT 'journal ' || journal_mode FROM pragma_journal_mode",
                "SELECT 'synchronous ' || synchronous FROM pragma_synchronous",
            ],
            Self::Postgres => {
                &["SELECT 'synchronous_commit ' || current_setting('synchronous_commit')"]
            }
        }
    }

    /// Statement that keeps a transaction alone in the deployment with those that say it too, by an
    /// advisory lock whose key is "auditlog" in ASCII. SQLite's write lock needs no statement.
    pub(super) const fn be_alone(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("SELECT pg_advisory_xact_lock(x'61756469746c6f67'::bigint)"),
        }
    }

    /// Clause that locks the selected rows. SQLite's immediate transaction is the lock there.
    pub(super) const fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE",
        }
    }

    /// Whether the text in `column` contains `part`.
    pub(super) fn contains(self, column: &'static str, part: String) -> SimpleExpr {
        let template = match self {
            Self::Sqlite => format!("instr({column}, ?)"),
            Self::Postgres => format!("strpos({column}, $1)"),
        };
        Expr::cust_with_values(template, [part]).gt(0)
    }

    /// A row source with the given columns, named `rows`: UNNEST of arrays on PostgreSQL, a list of
    /// VALUES on SQLite. Returns the SQL and appends to `values` what it binds.
    pub(super) fn rows(self, columns: Vec<ColumnOfRows>, values: &mut Vec<Value>) -> String {
        let names = columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        match self {
            Self::Postgres => {
                let arrays = columns.into_iter().map(|column| {
                    let (kind, array) = column.kind.postgres();
                    values.push(Value::Array(array, Some(Box::new(column.values))));
                    format!("${}::{kind}[]", values.len())
                });
                let arrays = arrays.collect::<Vec<_>>().join(", ");
                format!("(SELECT * FROM UNNEST({arrays}) AS unnested ({names})) AS rows")
            }
            Self::Sqlite => {
                let count = columns.first().map_or(0, |column| column.values.len());
                let row = format!("({})", vec!["?"; columns.len()].join(", "));
                let aliases = columns
                    .iter()
                    .enumerate()
                    .map(|(index, column)| format!("column{} AS {}", index + 1, column.name));
                let aliases = aliases.collect::<Vec<_>>().join(", ");
                let mut iterators: Vec<_> =
                    columns.into_iter().map(|column| column.values.into_iter()).collect();
                for _ in 0..count {
                    values.extend(iterators.iter_mut().filter_map(Iterator::next));
                }
                let rows = vec![row; count].join(", ");
                format!("(SELECT {aliases} FROM (VALUES {rows})) AS rows")
            }
        }
    }

    /// A statement that inserts many rows at once. `suffix` follows it (such as ON CONFLICT).
    pub(super) fn insert_rows(
        self,
        table: &str,
        columns: Vec<ColumnOfRows>,
        suffix: &str,
    ) -> Statement {
        let names = columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        let selected = columns.iter().map(|column| column.kind.selected(column.name));
        let selected = selected.collect::<Vec<_>>().join(", ");
        let mut values = Vec::new();
        let rows = self.rows(columns, &mut values);
        // `WHERE true` lets SQLite tell ON CONFLICT from a join condition.
        let sql = format!(
            "INSERT INTO {table} ({names}) SELECT {selected} FROM {rows} WHERE true{suffix}"
        );
        Statement::from_sql_and_values(self.backend(), sql, values)
    }

    /// The placeholder of the `number`th bound value, from 1.
    pub(super) fn placeholder(self, number: usize) -> String {
        match self {
            Self::Sqlite => "?".to_owned(),
            Self::Postgres => format!("${number}"),
        }
    }
}
