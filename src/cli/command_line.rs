//! The commands as clap sees them, and the function that each one calls.

use std::pin::Pin;

use clap::{CommandFactory as _, Parser, Subcommand};

use super::flags::Configured;
use super::terminal::print_error;
use super::{
    commits, compact, config, demo, export, help, import, list_failures, plan, publish, relabel, report, run, shell,
    simulate, status, verify,
};
use crate::{EXIT_INTERRUPTED, Error};

/// Harvest Mozilla Treeherder's performance data into research datasets
#[derive(Debug, Parser)]
#[command(name = "perfharvest", version, about, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = help::PROGRAM)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

// Where a name has an underscore, an attribute: clap would take the underscore of a doc comment for markup.
#[derive(Debug, Subcommand)]
enum Command {
    /// Crawl missing data, then make the artifacts; resumes an interrupted run
    #[command(after_help = help::run())]
    Run(run::RunArgs),
    /// Bring a store and its artifacts up to now, or to --data-end; resumes an interrupted refresh
    #[command(after_help = help::refresh())]
    Refresh(run::RefreshArgs),
    /// Crawl missing data, without making artifacts
    #[command(after_help = help::crawl())]
    Crawl(run::CrawlArgs),
    /// Make artifacts from the store, without using the network
    #[command(after_help = help::reduce())]
    Reduce(run::ReduceArgs),
    /// Estimate how many requests a run or a refresh would make and how long it would take
    #[command(after_help = help::PLAN)]
    Plan(plan::PlanArgs),
    /// Show the progress of a crawl, also while it is running, and the harvests of a store
    #[command(after_help = help::STATUS)]
    Status(status::StatusArgs),
    /// List the failed requests and the reasons
    #[command(after_help = help::FAILURES)]
    Failures(list_failures::FailuresArgs),
    /// Export the store as an archive, or the dataset as Parquet files
    #[command(after_help = help::EXPORT)]
    Export(export::ExportArgs),
    /// Make one folder to upload, to Zenodo or Hugging Face
    #[command(after_help = help::PUBLISH)]
    Publish(publish::PublishArgs),
    /// Import an archive, or the files of the older scripts, into a store
    #[command(after_help = help::IMPORT)]
    Import(import::ImportArgs),
    /// Check the store and the artifacts for damage, and repair it
    #[command(after_help = help::VERIFY)]
    Verify(verify::VerifyArgs),
    /// Free the disk space of data that was replaced
    #[command(after_help = help::COMPACT)]
    Compact(compact::CompactArgs),
    #[command(about = "Make all_commits.jsonl from a clone, an hgweb server or Treeherder's push list")]
    #[command(after_help = help::commits())]
    Commits(commits::CommitsArgs),
    #[command(about = "Relabel the records of perf_llm_struc.jsonl using the stored alerts")]
    #[command(after_help = help::RELABEL)]
    Relabel(relabel::RelabelArgs),
    /// Make an HTML report of the stored data
    #[command(after_help = help::REPORT)]
    Report(report::ReportArgs),
    /// Check, show or create a configuration file
    #[command(after_help = help::CONFIG)]
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Serve a simulated Treeherder on this machine, to rehearse a crawl
    #[command(after_help = help::SIMULATE)]
    Simulate(Box<simulate::SimulateArgs>),
    /// Crawl a simulated Treeherder and make its artifacts, offline
    #[command(after_help = help::DEMO)]
    Demo(demo::DemoArgs),
    /// Print a completion script for a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions(shell::CompletionsArgs),
    /// Print the manual page of perfharvest, or of one of its commands
    #[command(after_help = help::MAN)]
    Man(shell::ManArgs),
}

impl Cli {
    /// Runs the command; returns the exit code.
    ///
    /// # Errors
    /// [`Error`], which has an exit code of its own.
    #[must_use]
    pub fn run(self) -> Pin<Box<dyn Future<Output = Result<u8, Error>>>> {
        // Without the box, each way in which the runtime can block has a copy of all commands.
        Box::pin(self.dispatch())
    }

    async fn dispatch(mut self) -> Result<u8, Error> {
        let names = match self.command.for_each_repository() {
            Some(args) => args.load()?.repositories().to_vec(),
            None => Vec::new(),
        };
        if names.is_empty() {
            return self.command.run().await;
        }
        Ok(self.run_for_each(&names).await)
    }

    /// Runs the command for one repository after the other, so that one rate limit holds for all. Returns the exit code of the
    /// first that did not succeed. An error of one does not keep the others from their data, but an interruption ends all.
    async fn run_for_each(mut self, repositories: &[String]) -> u8 {
        let mut first = 0;
        for name in repositories {
            if let Some(args) = self.command.for_each_repository() {
                args.file_mut().select(name);
            }
            let code = self.command.run().await.unwrap_or_else(|error| {
                print_error(&error);
                error.exit_code()
            });
            if first == 0 {
                first = code;
            }
            if code == EXIT_INTERRUPTED {
                return code;
            }
        }
        first
    }
}

impl Command {
    /// The arguments of a command that works on all of `source.repositories`, one after the other.
    fn for_each_repository(&mut self) -> Option<&mut dyn Configured> {
        match self {
            Self::Run(args) => Some(args),
            Self::Refresh(args) => Some(args),
            Self::Crawl(args) => Some(args),
            Self::Reduce(args) => Some(args),
            Self::Plan(args) => Some(args),
            Self::Status(args) => Some(args),
            Self::Failures(args) => Some(args),
            Self::Verify(args) => Some(args),
            Self::Compact(args) => Some(args),
            Self::Export(args) if args.has_default_output() => Some(args),
            _ => None,
        }
    }

    async fn run(&self) -> Result<u8, Error> {
        match self {
            Self::Run(args) => run::run(args).await,
            Self::Refresh(args) => run::refresh(args).await,
            Self::Crawl(args) => run::crawl(args).await,
            Self::Reduce(args) => run::reduce(args).await,
            Self::Plan(args) => plan::run(args).await,
            Self::Status(args) => status::run(args).await,
            Self::Failures(args) => list_failures::run(args),
            Self::Export(args) => export::run(args).await,
            Self::Publish(args) => publish::run(args).await,
            Self::Import(args) => import::run(args).await,
            Self::Verify(args) => verify::run(args),
            Self::Compact(args) => compact::run(args),
            Self::Commits(args) => commits::run(args).await,
            Self::Relabel(args) => relabel::run(args),
            Self::Report(args) => report::run(args).await,
            Self::Config(command) => config::run(command).await,
            Self::Simulate(args) => simulate::run(args).await,
            Self::Demo(args) => demo::run(args).await,
            Self::Completions(args) => shell::completions(args, Cli::command()),
            Self::Man(args) => shell::man(args, Cli::command()),
        }
    }
}

#[cfg(test)]
mod tests;
