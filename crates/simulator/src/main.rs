//! A simulated field: real Modbus TCP servers and serial lines whose soil, water and air behave like weather. Also writes
//! the gateway configurations that poll them.

mod incident;
mod layout;
mod run;
mod serve;
mod station;
mod weather;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "sitian-simulator", version, about = "A simulated field of Modbus devices for Sitian")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the field until Ctrl-C.
    Run(run::Options),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Run(options) => run::run(options).await,
    }
}
