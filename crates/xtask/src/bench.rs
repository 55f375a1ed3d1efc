//! `cargo xtask bench`: what the product costs on this machine. Real release programs, real sockets, real files; every
//! figure with its unit, the machine and the command that repeats it.

mod delivery;
mod field;
mod gateway;
mod line;
mod peer;
mod process;
mod series;
mod tap;

use std::path::Path;

use anyhow::Result;

/// Where the measurements keep their files; what an earlier run left there is removed.
const FOLDER: &str = "target/bench";

/// What to measure.
#[derive(clap::Args)]
pub struct Options {
    /// Only this part; without it, all of them.
    part: Option<Part>,
    /// How long the gateway is watched, in seconds, after 10 s to settle.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(5..=3_600))]
    seconds: u32,
    /// Modbus TCP devices that the gateway polls, each with 10 registers and its own connection.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    devices: u32,
    /// Million readings that the store takes.
    #[arg(long, default_value_t = 5)]
    millions: u32,
    /// Kills of the store amid compaction, after everything else; about 10 s each at 100 million readings.
    #[arg(long, default_value_t = 0)]
    kills: u32,
    /// Only this step of the series.
    #[arg(long)]
    only: Option<series::Step>,
    /// Days without a link; the drain takes a few minutes a day.
    #[arg(long, default_value_t = 1.0)]
    days: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// One gateway with its ingestor.
    Gateway,
    /// The drain of a long outage beside live readings, and the price of a commit on a card.
    Delivery,
    /// The embedded store, alone and beside VictoriaMetrics, InfluxDB and plain SQLite rows.
    Series,
    /// The gateway, and a script of pymodbus and paho with the same devices. Only when asked for.
    Field,
    /// One RTU line at 9600 baud, with and without a dead device. Only when asked for.
    Line,
}

/// Runs the measurements.
pub fn run(options: &Options) -> Result<()> {
    let wanted = |part| options.part.is_none_or(|only| only == part);
    println!("machine          {}", process::machine());
    if wanted(Part::Gateway) {
        gateway::measure(&Path::new(FOLDER).join("gateway"), options.seconds, options.devices)?;
    }
    if wanted(Part::Delivery) {
        delivery::measure(&Path::new(FOLDER).join("delivery"), options.days)?;
    }
    if wanted(Part::Series) {
        let wanted = series::Wanted { millions: options.millions, kills: options.kills, only: options.only };
        series::measure(&Path::new(FOLDER).join("series"), wanted)?;
    }
    if options.part == Some(Part::Field) {
        let folder = Path::new(FOLDER).join("field");
        gateway::measure(&folder.join("gateway"), options.seconds, options.devices)?;
        peer::measure(&folder.join("script"), options.seconds, options.devices)?;
    }
    if options.part == Some(Part::Line) {
        line::measure(&Path::new(FOLDER).join("line"), options.seconds)?;
    }
    Ok(())
}
