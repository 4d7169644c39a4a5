//! The process edge: parses the command line, runs the command, turns an error into an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use perfharvest::Error;
use perfharvest::actor::prepare_threads;
use perfharvest::cli::{Cli, complete_commands};
use perfharvest::model::printable_lines;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let code = error.exit_code();
            print_error(&anyhow::Error::new(error));
            ExitCode::from(code)
        }
    }
}

fn run(cli: Cli) -> Result<u8, Error> {
    // tokio and rayon panic when the system refuses a thread.
    let workers = prepare_threads()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    runtime.map_err(Error::Runtime)?.block_on(cli.run())
}

/// Prints the error and its causes on one line, without control characters that a server may have sent.
fn print_error(error: &anyhow::Error) {
    use std::io::Write as _;
    let mut text = String::from("error");
    for cause in error.chain() {
        let cause = printable_lines(&complete_commands(&cause.to_string()));
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    let _ignored_since_stderr_is_closed = writeln!(std::io::stderr(), "{text}");
}
