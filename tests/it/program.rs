//! The program as its user runs it: arguments and environment in, exit code and output out.

mod bench;
mod demo;
mod export;
mod health;
mod help;
mod keys;
pub mod process;
mod serve;
mod settings;
mod shell;
mod stop;
mod tail;
pub mod verify;
