//! `sitian-ingestor`: stores every reading once, raises alerts, serves the console.

mod admit;
mod backend;
mod board;
mod commands;
mod compaction;
mod complaints;
mod keeping;
mod ledger;
mod link;
mod moving;
mod outputs;
mod parts;
mod quarantine;
mod readings;
mod run;
mod settings;
mod several;
mod show;
mod undated;
mod upkeep;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(version, about = "Stores every reading once, raises alerts, serves the console")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Receive, store and serve until Ctrl-C.
    Run(settings::Source),
    /// Say what is wrong with configuration, territory and rules, and start nothing.
    Check(settings::Source),
    /// Print every setting in force and where it comes from.
    Config(settings::Source),
    #[command(flatten)]
    Upkeep(upkeep::Task),
    /// Look at what nobody understood, try it again, or take its bytes out.
    #[command(subcommand)]
    Quarantine(quarantine::Command),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(source) => run::run(&source),
        Command::Check(source) => show::check(&source),
        Command::Config(source) => show::config(&source),
        Command::Upkeep(task) => task.run(),
        Command::Quarantine(command) => quarantine::run(&command),
    };
    sitian_settings::exit_code(outcome, |error| error.is::<sitian_settings::Faults>())
}
