//! `sitian-gateway`: polls the sensors of a base, keeps every reading until the centre has stored it.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod clock;
mod disk;
mod field;
mod gather;
mod library;
mod plan;
mod probe;
mod run;
mod settings;
mod show;
mod spooler;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "sitian-gateway",
    version,
    about = "Polls the sensors of a base and delivers every reading once"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Poll, keep and deliver until Ctrl-C.
    Run(settings::Source),
    /// Say what is wrong with the configuration and the profiles, and start nothing.
    Check(settings::Source),
    /// Print every setting in force and where it comes from.
    Config(settings::Source),
    /// Read one device now: raw registers, values, units, quality.
    Probe(probe::Options),
    /// List the built-in device profiles.
    Profiles,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(source) => run::run(&source),
        Command::Check(source) => show::check(&source),
        Command::Config(source) => show::config(&source),
        Command::Probe(options) => probe::probe(&options),
        Command::Profiles => show::profiles(),
    };
    sitian_settings::exit_code(outcome, |error| error.is::<sitian_settings::Faults>())
}
