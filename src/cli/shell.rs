//! `completions` and `man`, and what completions know of arguments.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, EXIT_CODES, print};
use crate::Error;
use crate::dataset::Artifact;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  source <(perfharvest completions bash)  # in ~/.bashrc\n  \
    perfharvest completions zsh > ~/.zfunc/_perfharvest\n  \
    perfharvest completions fish > ~/.config/fish/completions/perfharvest.fish")]
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

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    perfharvest man > ~/.local/share/man/man1/perfharvest.1\n  \
    perfharvest man run > ~/.local/share/man/man1/perfharvest-run.1\n  \
    perfharvest man config check | man -l -")]
pub(super) struct ManArgs {
    /// The command [default: the program as a whole]
    command: Vec<String>,
}

pub(super) fn man(args: &ManArgs) -> Result<u8, Error> {
    print(&page(&args.command)?)?;
    Ok(0)
}

/// The manual page of a command, by the words that lead to it.
fn page(words: &[String]) -> Result<String, Error> {
    let mut command = Cli::command();
    command.build();
    for word in words {
        let Some(inner) = command.find_subcommand(word) else {
            let message = format!("there is no command `{}`; `perfharvest --help` lists them", words.join(" "));
            return Err(Error::Usage { message });
        };
        command = inner.clone();
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).map_err(Error::Stdout)?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    page.push_str(".SH \"EXIT STATUS\"\n");
    for (code, meaning) in EXIT_CODES {
        page.push_str(&format!(".TP\n\\fB{code}\\fR\n{meaning}\n"));
    }
    Ok(page)
}

/// Reads the name of an artifact, and tells completions all of them.
#[derive(Clone, Debug)]
pub(super) struct ArtifactNames;

impl TypedValueParser for ArtifactNames {
    type Value = Artifact;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Artifact, clap::Error> {
        StringValueParser::new().try_map(|name| name.parse::<Artifact>()).parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(Artifact::ALL.iter().map(|artifact| PossibleValue::new(artifact.file_name()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_that_a_page_refers_to_can_be_printed_and_tells_the_exit_codes() {
        let whole = page(&[]).unwrap();
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(whole.contains(&format!("perfharvest\\-{name}(1)")), "{name}: {whole}");
            let own = page(&[name.to_owned()]).unwrap();
            assert!(own.contains(&format!(".TH perfharvest-{name} 1")), "{own}");
            assert!(own.contains(".SH \"EXIT STATUS\"") && own.contains("interrupted"), "{own}");
        }
        assert!(page(&["config".to_owned(), "check".to_owned()]).unwrap().contains("perfharvest config check"));
        assert!(page(&["rum".to_owned()]).unwrap_err().to_string().contains("no command `rum`"));
    }

    #[test]
    fn completions_know_the_names_of_the_artifacts() {
        let mut script = Vec::new();
        clap_complete::generate(Shell::Bash, &mut Cli::command(), "perfharvest", &mut script);
        let script = String::from_utf8(script).unwrap();
        assert!(Artifact::ALL.iter().all(|artifact| script.contains(artifact.file_name())));
    }
}
