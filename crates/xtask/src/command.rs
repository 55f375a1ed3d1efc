//! The commands by name. What each does is in the module of its name.

use crate::{bench, demo, faults, setup, teeth, testing};

#[derive(clap::Subcommand)]
pub enum Command {
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

impl Command {
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Demo(options) => demo::run(&options),
            Self::Test(options) => testing::run(&options),
            Self::Faults(options) => faults::run(&options),
            Self::Teeth => teeth::run(),
            Self::Bench(options) => bench::run(&options),
            Self::Console => setup::console(),
            Self::Openapi => testing::openapi(),
        }
    }
}
