//! The command line: one file per command, over `flags` (groups of flags, which become the configuration).
//!
//! ```text
//! command_line -> one file per command -> flags, terminal, advice, summary, help
//! ```
//!
//! Data goes to stdout, messages for people to stderr.

mod advice;
mod command_line;
mod commits;
mod compact;
mod config;
mod counts;
mod demo;
mod dry_run;
mod due;
mod export;
mod flags;
mod fresh;
mod help;
mod import;
mod list_failures;
mod plan;
mod publish;
mod reading;
mod relabel;
mod report;
mod run;
mod shell;
mod signals;
mod simulate;
mod sizes;
mod status;
mod streams;
mod summary;
mod summary_json;
mod terminal;
mod verify;

pub use command_line::Cli;
pub use terminal::print_error;
