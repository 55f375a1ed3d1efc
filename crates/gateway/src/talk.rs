//! One task per bus of sensors that do not speak Modbus: carries bytes between the stream and its machine, and samples on.

use std::time::Duration;

use anyhow::{Context, Result};
use sitian_dialect::{Answer, Command, Talk};
use sitian_fieldbus::{Stream, StreamEvent};
use sitian_poll::{Sample, WriteOrder};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::board::Board;
use crate::clock::mono_ms;
use crate::field::{FromField, Outlet, Round};
use crate::plan::TalkingBus;

/// Reads a bus until it is hung up on (its orders, of which there are none, come to their end), or nobody listens. When
/// `field` is full the bus waits: readings are never dropped here. What is on its way to the disk is still answered.
/// What comes is shown on the board.
pub async fn talk(
    planned: TalkingBus,
    mut orders: mpsc::Receiver<WriteOrder>,
    field: Outlet,
    board: Board,
) -> Result<()> {
    let TalkingBus { name, settings, plan, .. } = planned;
    let mut stream = Stream::open(&name, settings).with_context(|| format!("open bus {name}"))?;
    let mut machine = Talk::new(plan, mono_ms());
    let mut complaint = String::new();
    // Answers whose samples are on their way to the disk.
    let mut kept: JoinSet<Option<Answer>> = JoinSet::new();
    let mut hung_up = false;
    loop {
        while let Some(command) = machine.poll_command() {
            match command {
                Command::Write(link, bytes) => {
                    debug!(bus = name, link, bytes = %bytes.escape_ascii(), "said");
                    stream.write(link, bytes);
                }
                Command::Samples { samples, at, answer } => {
                    let (tell, durable) = oneshot::channel();
                    let samples: Vec<Sample> = samples.into_iter().map(sample).collect();
                    board.said(field.bus(), &samples, mono_ms());
                    let tell = answer.is_some().then_some(tell);
                    let round = Round { mono_ms: mono_ms(), samples, at, kept: tell };
                    if !field.put(FromField::Round(round)).await {
                        return Ok(());
                    }
                    if let Some(answer) = answer {
                        kept.spawn(async move { durable.await.ok().map(|()| answer) });
                    }
                }
                Command::Stranger(who) => {
                    warn!(bus = name, who, "somebody speaks who is no device of this bus; not answered");
                }
            }
        }
        if hung_up && kept.is_empty() {
            return Ok(());
        }
        let now = mono_ms();
        let wait = Duration::from_millis(machine.poll_timeout().map_or(1_000, |at| at.saturating_sub(now)));
        tokio::select! {
            None = orders.recv(), if !hung_up => hung_up = true,
            event = stream.next(), if !hung_up => hear(&name, &mut machine, event, &mut complaint),
            Some(Ok(Some(answer))) = kept.join_next() => machine.handle_kept(answer, mono_ms()),
            () = tokio::time::sleep(wait) => machine.handle_timeout(mono_ms()),
        }
    }
}

/// Passes on what happened to a link; tells its loss once for each reason.
fn hear(bus: &str, machine: &mut Talk, event: StreamEvent, complaint: &mut String) {
    let now = mono_ms();
    match event {
        StreamEvent::Up(link) => {
            info!(bus, link, "link up");
            complaint.clear();
            machine.handle_up(link, now);
        }
        StreamEvent::Bytes(link, bytes) => {
            debug!(bus, link, bytes = %bytes.escape_ascii(), "heard");
            machine.handle_bytes(link, &bytes, now);
        }
        StreamEvent::Down(link, reason) => {
            if reason != *complaint {
                warn!(bus, link, reason, "link down");
                complaint.clone_from(&reason);
            }
            machine.handle_down(link, now);
        }
    }
}

fn sample(sample: sitian_dialect::Sample) -> Sample {
    Sample { point: sample.point, value: sample.value, quality: sample.quality }
}
