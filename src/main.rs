//! The process edge: parses the command line, runs the command, turns an error into an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use perfharvest::Error;
use perfharvest::actor::prepare_threads;
use perfharvest::cli::{Cli, print_error};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let code = error.exit_code();
            print_error(&error);
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
