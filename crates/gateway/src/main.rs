//! `sitian-gateway`: polls the sensors of a base, keeps every reading until the centre has stored it.

#![cfg_attr(test, allow(clippy::unwrap_used))]

#[macro_use]
mod screen;

mod advice;
mod ask;
mod board;
mod buses;
mod capture;
mod clock;
mod commands;
mod configuration;
mod control;
mod disk;
mod field;
mod gather;
mod heritage;
mod library;
mod overhear;
mod plan;
mod probe;
mod reload;
mod run;
mod scan;
mod settings;
mod show;
mod spooler;
mod talk;
mod totals;
mod watch;
mod write;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(
    name = "sitian-gateway",
    version,
    about = "Polls the sensors of a base and delivers every reading once"
)]
struct Arguments {
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    let outcome = Arguments::parse().command.run();
    sitian_settings::exit_code(outcome, |error| error.is::<sitian_settings::Faults>())
}
