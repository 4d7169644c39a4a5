//! The process edge: parse, run, error to exit code.

use std::process::ExitCode;

use clap::Parser as _;
use perfharvest::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(&anyhow::Error::new(error).context("the runtime cannot be started"));
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(cli.run()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let code = error.exit_code();
            tell(&anyhow::Error::new(error));
            ExitCode::from(code)
        }
    }
}

/// The error and what lies under it, a line each, without the control characters of a server.
fn tell(error: &anyhow::Error) {
    use std::io::Write as _;
    let mut text = String::from("error");
    for cause in error.chain() {
        let cause: String =
            cause.to_string().chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    let _nowhere_to_tell = writeln!(std::io::stderr(), "{text}");
}
