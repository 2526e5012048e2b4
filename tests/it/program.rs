//! The program as its user runs it: arguments and environment in, exit code and output out.

mod crash;
mod demo;
mod export;
mod help;
mod keys;
mod process;
mod serve;
mod settings;
mod stop;
mod verify;
