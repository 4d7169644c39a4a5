//! `completions` and `man`, and the parser of artifact names, which completions list.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Args, Command};
use clap_complete::Shell;

use super::help::EXIT_CODES;
use super::terminal::print;
use crate::Error;
use crate::dataset::Artifact;

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// Shell to print the script for
    shell: Shell,
}

pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<u8, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "perfharvest", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Command to describe [default: perfharvest itself]
    command: Vec<String>,
}

pub(super) fn man(args: &ManArgs, program: Command) -> Result<u8, Error> {
    print(&page(program, &args.command)?)?;
    Ok(0)
}

/// The manual page of the command with the given words, such as `config check`.
fn page(mut command: Command, words: &[String]) -> Result<String, Error> {
    command.build();
    for word in words {
        let Some(inner) = command.find_subcommand(word) else {
            let message = format!("unknown command `{}`; `perfharvest --help` lists the commands", words.join(" "));
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

/// Parses the name of an artifact, and lists all names for completions.
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
    use clap::CommandFactory as _;

    use super::super::Cli;
    use super::*;

    #[test]
    fn every_page_that_a_page_refers_to_can_be_printed_and_lists_the_exit_codes() {
        let page = |words: &[String]| page(Cli::command(), words);
        let whole = page(&[]).unwrap();
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(whole.contains(&format!("perfharvest\\-{name}(1)")), "{name}: {whole}");
            let own = page(&[name.to_owned()]).unwrap();
            assert!(own.contains(&format!(".TH perfharvest-{name} 1")), "{own}");
            assert!(own.contains(".SH \"EXIT STATUS\"") && own.contains("interrupted"), "{own}");
        }
        assert!(page(&["config".to_owned(), "check".to_owned()]).unwrap().contains("perfharvest config check"));
        assert!(page(&["rum".to_owned()]).unwrap_err().to_string().contains("unknown command `rum`"));
    }

    #[test]
    fn completions_know_the_names_of_the_artifacts() {
        let mut script = Vec::new();
        clap_complete::generate(Shell::Bash, &mut Cli::command(), "perfharvest", &mut script);
        let script = String::from_utf8(script).unwrap();
        assert!(Artifact::ALL.iter().all(|artifact| script.contains(artifact.file_name())));
    }
}
