//! The maintainers' commands: set up, demonstrate, test, measure, regenerate. Knows how to start programs and install
//! what they need; knows nothing of readings.

mod api;
mod bench;
mod command;
mod demo;
mod faults;
mod programs;
mod setup;
mod stage;
mod steps;
mod teeth;
mod testing;

use clap::Parser;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Sitian: set up, demonstrate, test, measure"
)]
struct Arguments {
    #[command(subcommand)]
    command: command::Command,
}

fn main() -> std::process::ExitCode {
    let moved = std::env::set_current_dir(setup::root()).map_err(anyhow::Error::from);
    match moved.and_then(|()| Arguments::parse().command.run()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
