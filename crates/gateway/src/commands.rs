//! The words of the command line.

use anyhow::Result;
use clap::Subcommand;

use crate::{capture, probe, run, scan, settings, show, watch, write};

/// What the program can be asked to do.
#[derive(Subcommand)]
pub enum Command {
    /// Poll, keep and deliver until Ctrl-C.
    Run(settings::Source),
    /// Say what is wrong with the configuration and the profiles, and start nothing.
    Check(settings::Source),
    /// Print every setting in force and where it comes from.
    Config(settings::Source),
    /// List the built-in device profiles, or show one.
    Profiles(show::ProfilesOptions),
    /// Find out who is on a line: unit ids, speeds, parities, and what the devices probably are.
    Scan(scan::Options),
    /// Read one device now: raw registers, values, units, quality.
    Probe(probe::Options),
    /// Show buses, devices and values live, without disturbing a running gateway.
    Watch(watch::Options),
    /// Give an output of the running gateway a new value, and read it back.
    Write(write::Options),
    /// Record every byte of a bus while polling it, as a file to mail.
    Capture(capture::Options),
    /// Tell what the frames of such a file mean.
    Replay(capture::replay::Options),
}

impl Command {
    /// Does it.
    pub fn run(self) -> Result<()> {
        match self {
            Self::Run(source) => run::run(&source),
            Self::Check(source) => show::check(&source),
            Self::Config(source) => show::config(&source),
            Self::Profiles(options) => show::profiles(&options),
            Self::Scan(options) => scan::scan(&options),
            Self::Probe(options) => probe::probe(&options),
            Self::Watch(options) => watch::watch(&options),
            Self::Write(options) => write::write(&options),
            Self::Capture(options) => capture::capture(&options),
            Self::Replay(options) => capture::replay::replay(&options),
        }
    }
}
