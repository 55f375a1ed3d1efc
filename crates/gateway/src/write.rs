//! `write`: gives an output of the running gateway a new value, and says what came of it.

use anyhow::{Context, Result, bail};
use sitian_settings::Faults;

use crate::control::{Order, State, door};
use crate::plan::Plan;
use crate::settings::Source;

/// What to write.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    source: Source,
    /// Id of a device of the configuration.
    device: String,
    /// Key of one of its points that its profile declares writable.
    point: String,
    /// New value, in the point's unit; 1 and 0 switch on and off.
    #[arg(allow_negative_numbers = true)]
    value: f64,
    /// Unique name of this command: repeated with the same one, it is not executed again.
    #[arg(long)]
    id: Option<String>,
    /// Who wants it, for the records.
    #[arg(long, default_value = "sitian-gateway write")]
    by: String,
}

/// Orders, waits, tells.
pub fn write(options: &Options) -> Result<()> {
    let loaded = options.source.load()?;
    let plan = Plan::make(&loaded, options.source.folder()).map_err(Faults)?;
    let random = || {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map(|()| format!("local-{:016x}", u64::from_be_bytes(bytes)))
    };
    let id = match &options.id {
        Some(id) => id.clone(),
        None => random().map_err(|error| anyhow::anyhow!("make an id: {error}"))?,
    };
    let order = Order {
        id,
        device: options.device.clone(),
        point: options.point.clone(),
        value: options.value,
        by: options.by.clone(),
        centre: false,
        expires_ms: 0,
        for_s: 0,
    };
    let outcome = door::ask(&plan.spool_folder, &order).with_context(|| {
        format!(
            "reach the running gateway at {}: only it writes, so that interlocks and time limits hold; start it first",
            plan.spool_folder.display()
        )
    })?;
    let what = format!("{}/{} = {}", options.device, options.point, options.value);
    let read = outcome.read_back.map_or(String::new(), |value| format!(", read back {value}"));
    match outcome.state {
        State::Done => say!("{what}: done{read} ({}; command {})", outcome.detail, order.id),
        State::Refused => bail!("write {what}: refused, {} (command {})", outcome.detail, order.id),
        State::Failed => bail!("write {what}: {}{read} (command {})", outcome.detail, order.id),
    }
    Ok(())
}
