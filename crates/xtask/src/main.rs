//! The maintainers' commands: set up, demonstrate, test, measure, regenerate. Knows how to start programs and install
//! what they need; knows nothing of readings.

mod api;
mod bench;
mod demo;
mod faults;
mod setup;
mod stage;
mod steps;
mod teeth;
mod testing;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Sitian: set up, demonstrate, test, measure"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Do all set-up, start a simulated network on this machine and print the console's address.
    Demo(demo::Options),
    /// Install what the tests need, run all of them, end with a summary.
    Test(testing::Options),
    /// Print the table of what the fault tests have left, or record it in tests/README.md.
    Faults(faults::Options),
    /// Prove that the tests catch every deliberate mistake (`sitian_model::Mutant`).
    Teeth,
    /// Measure what the product costs on this machine.
    Bench(bench::Options),
    /// Build the web console's files with npm.
    Console,
    /// Rewrite the committed `openapi.json` from the code.
    Openapi,
}

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    std::env::set_current_dir(setup::root())?;
    match Arguments::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => testing::run(&options),
        Command::Faults(options) => faults::run(&options),
        Command::Teeth => teeth::run(),
        Command::Bench(options) => bench::run(&options),
        Command::Console => setup::console(),
        Command::Openapi => testing::openapi(),
    }
}
