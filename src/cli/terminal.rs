//! Writing to the terminal: data to stdout, messages for people to stderr.

use std::io::Write as _;

use tracing::level_filters::LevelFilter;

use super::advice::complete_commands;
use crate::Error;
use crate::model::printable_lines;

/// Writes data to stdout. A reader that has closed the pipe (`| head`) is not an error.
pub(super) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if !ends_quietly(&error) => Err(Error::Stdout(error)),
        _ => Ok(()),
    }
}

/// True when the reader is gone: a closed pipe, or a closed terminal (EIO).
pub(super) fn ends_quietly(error: &std::io::Error) -> bool {
    const EIO: i32 = 5;
    error.kind() == std::io::ErrorKind::BrokenPipe
        || std::io::IsTerminal::is_terminal(&std::io::stdout()) && error.raw_os_error() == Some(EIO)
}

/// Writes a message to stderr, except with `-q`; control characters become spaces.
pub(super) fn say(text: &str) {
    if !is_quiet() {
        say_even_if_quiet(text);
    }
}

/// Writes a message to stderr only with `-q`: the line that replaces the summary.
pub(super) fn say_if_quiet(text: &str) {
    if is_quiet() {
        say_even_if_quiet(text);
    }
}

fn say_even_if_quiet(text: &str) {
    let _ignored_since_stderr_is_closed = writeln!(std::io::stderr().lock(), "{}", printable_lines(text.trim_end()));
}

/// Prints an error and its causes on one line of stderr, without control characters that a server may have sent.
pub fn print_error(error: &Error) {
    let mut text = String::from("error");
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        let said = printable_lines(&complete_commands(&error.to_string()));
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    say_even_if_quiet(&text);
}

/// True with `-q`. A command that sets up no logs has no level at all, and is not quiet.
fn is_quiet() -> bool {
    LevelFilter::current() == LevelFilter::ERROR
}
