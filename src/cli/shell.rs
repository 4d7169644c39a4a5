//! `completions` and `man`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, print};
use crate::Error;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  perfharvest completions bash > ~/.local/share/bash-completion/completions/perfharvest\n  \
    perfharvest completions zsh > ~/.zfunc/_perfharvest\n  \
    perfharvest completions fish > ~/.config/fish/completions/perfharvest.fish"
)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<u8, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "perfharvest", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}

pub(super) fn man() -> Result<u8, Error> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(Error::Stdout)?;
    print(&String::from_utf8_lossy(&page))?;
    Ok(0)
}
