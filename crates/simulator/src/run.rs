//! `sitian-simulator run`: lays out the field of a territory, serves it, says when it is ready.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use sitian_supervision::Territory;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::layout::{self, Access};
use crate::serve;
use crate::station::World;

const DAY_MS: i64 = 86_400_000;

const TERRITORY: (&str, &str) = ("zhangye.toml", include_str!("../../../config/territory/zhangye.toml"));

/// How to run the field.
#[derive(clap::Args)]
pub struct Options {
    /// Gateway configurations, serial lines and `ready.json` go here.
    #[arg(long)]
    directory: PathBuf,
    /// First port of the Modbus TCP servers, on loopback; 0 takes any free ones.
    #[arg(long, default_value_t = 15020)]
    port: u16,
    /// The broker that the gateways are told to publish to.
    #[arg(long, default_value = "127.0.0.1:1883")]
    mqtt: String,
    /// Same seed, same field.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Day of the year of the weather, 1 to 365; without it, today's.
    #[arg(long)]
    season: Option<i64>,
    /// Play the scripted incidents.
    #[arg(long)]
    incidents: bool,
}

/// Serves until SIGINT or SIGTERM.
pub async fn run(options: Options) -> Result<()> {
    let folder = std::path::absolute(&options.directory)?;
    std::fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    let (host, port) = options.mqtt.rsplit_once(':').context("--mqtt takes host:port")?;
    let mqtt = (host, port.parse::<u16>().context("--mqtt takes host:port")?);
    let territory = Territory::parse(TERRITORY.0, TERRITORY.1)
        .map_err(|faults| anyhow!(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
    let today = serve::now_ms() / DAY_MS % 365;
    let world = World {
        script_ms: options.incidents.then(serve::now_ms),
        season_shift_ms: options.season.map_or(0, |day| (day - today) * DAY_MS),
    };
    let mut names = Vec::new();
    for (station, access) in layout::stations(&territory, options.seed, options.port, world)? {
        let access = match access {
            Access::Tcp(port) => {
                let listener = TcpListener::bind(("127.0.0.1", port)).await;
                let listener = listener
                    .with_context(|| format!("failed to listen on port {port}: another field running?"))?;
                let taken = Access::Tcp(listener.local_addr()?.port());
                tokio::spawn(serve::tcp(listener, station.clone()));
                taken
            }
            Access::Line => {
                serve::line(&layout::line_path(&folder, &station.gateway), 9_600, station.clone())?;
                access
            }
        };
        let path = folder.join(format!("{}.toml", station.gateway));
        let configuration = layout::configuration(&station, &access, &folder, mqtt);
        std::fs::write(&path, configuration)
            .with_context(|| format!("failed to write {}", path.display()))?;
        names.push(station.gateway.clone());
    }
    std::fs::write(folder.join("ready.json"), serde_json::json!({ "gateways": names }).to_string())?;
    eprintln!("field ready: {} stations below {}", names.len(), folder.display());
    let mut end = signal(SignalKind::terminate())?;
    tokio::select! { _ = end.recv() => {}, _ = tokio::signal::ctrl_c() => {} }
    Ok(())
}
