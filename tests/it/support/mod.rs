//! Servers, clients and builders for the suite.

pub mod builders;
pub mod cluster;
pub mod disk;
pub mod postgres;
pub mod server;
pub mod status;
pub mod waiting;

pub use self::{
    builders::{an_event, at, create_event, metadata, schema_for, with_text},
    server::{Engine, TestServer},
    status::Refusal,
    waiting::until,
};

/// Makes a test per engine of each function: `fn name(engine: Engine)`.
macro_rules! on_every_engine {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::support::Engine::Sqlite).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if $crate::support::postgres::is_available() {
                    super::$name($crate::support::Engine::Postgres).await;
                }
            })*
        }
    };
}
pub(crate) use on_every_engine;
