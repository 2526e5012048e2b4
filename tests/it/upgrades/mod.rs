//! Databases of earlier and of later versions.

mod forward;
mod later;
mod locks;
mod schema;

use migrations::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};

use crate::{program::process::Program, support::Engine};

/// How many migrations there are.
fn migrations() -> usize {
    Migrator::migrations().len()
}

/// A connection to the database of a program; SQLite's file is made.
async fn open(program: &Program, engine: Engine) -> DatabaseConnection {
    let url = program.database_url();
    match engine {
        Engine::Sqlite => {
            std::fs::create_dir_all(program.path("data")).unwrap();
            Database::connect(format!("{url}?mode=rwc")).await.unwrap()
        }
        Engine::Postgres => Database::connect(url).await.unwrap(),
    }
}

/// Applies the next migration.
async fn step(database: &DatabaseConnection) {
    Migrator::up(database, Some(1)).await.unwrap();
}

/// Runs a script that was written for SQLite.
async fn run(database: &DatabaseConnection, engine: Engine, script: &str) {
    let script = script.replace("<US>", "\u{1f}");
    let script = match engine {
        Engine::Sqlite => script,
        // Bytes, as PostgreSQL has them.
        Engine::Postgres => script.replace("x'", r"'\x"),
    };
    database.execute_unprepared(&script).await.unwrap();
}
