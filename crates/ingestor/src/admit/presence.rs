//! Which gateways are there: signs of life, silences, goodbyes, and the call that tells them where they stand.

use std::time::Duration;

use sitian_ingest::{EpochEntry, Limits};
use sitian_model::{Ack, Action, GatewayId, Timestamp};
use tracing::{info, warn};

use super::{Admission, write};

/// A gateway probes every minute; after this silence it counts as offline even without its Will.
const SILENT_MS: i64 = 150_000;
/// Two machines under one id push each other out of the broker again and again: a gateway that said goodbye is offline
/// only if nothing comes from it for this long.
const GOODBYE_MS: i64 = 10_000;
/// How often it is looked for commands that nobody answered.
const RESEND_CHECK_MS: i64 = 1_000;

impl Admission {
    /// Tells every gateway where its epoch stands: what was under way to this program's predecessor, or to a broker that
    /// was killed, is lost and need not wait to be missed.
    pub(super) fn call_gateways(&self, retry_after: Duration, now: Timestamp) {
        let epochs = match self.keeper.reader().newest_epochs() {
            Ok(epochs) => epochs,
            Err(error) => return warn!(%error, "gateways not called"),
        };
        for EpochEntry { gateway, epoch, .. } in epochs {
            let Some(state) = self.ingest.state(&gateway, &epoch) else { continue };
            let window_bytes = Limits::default().window_bytes;
            let action = Action::Rewind;
            let ack = Ack {
                epoch,
                committed: state.committed,
                chain: state.chain,
                action,
                retry_after_ms: retry_after.as_millis() as u32,
                window_bytes,
                server_ms: now.0,
            };
            self.outlet.ack(&gateway, &ack);
        }
    }

    /// A sign of life.
    pub(super) fn hear(&mut self, gateway: &GatewayId, now: Timestamp) {
        // An id that has shown no manifest and stands in no base is nobody yet.
        match self.board().gateways.get_mut(gateway) {
            Some(known) => known.last_seen_at = Some(now),
            None => return,
        }
        self.leaving.remove(gateway);
        self.set_link(gateway, true, now, now);
    }

    /// Whether a gateway can be reached, for the picture and for the alerts.
    pub(super) fn set_link(&mut self, gateway: &GatewayId, online: bool, since: Timestamp, now: Timestamp) {
        if !self.board().gateways.contains_key(gateway) {
            return;
        }
        // The engine forgets links when it has been deaf; telling it again changes nothing.
        if online {
            self.engine.gateway_online(gateway, now);
        } else {
            self.engine.gateway_offline(gateway, since, now);
        }
        if self.board().set_link(gateway, online, since, now) {
            info!(%gateway, online, "gateway");
            self.live.rollup_changed();
        }
    }

    /// What is due: orders to send again, alerts, gateways that fell silent.
    pub(super) fn handle_timers(&mut self, now: Timestamp) {
        if now >= self.resend_at {
            self.resend_at = now.plus_ms(RESEND_CHECK_MS);
            self.centre.send_overdue(now);
        }
        if self.engine.poll_timeout().is_some_and(|at| at <= now) {
            self.engine.handle_timeout(now);
        }
        let gone = self.leaving.extract_if(|_, at| now.since_ms(*at) >= GOODBYE_MS);
        let gone: Vec<(GatewayId, Timestamp)> = gone.collect();
        gone.iter().for_each(|(gateway, at)| self.set_link(gateway, false, *at, now));
        let board = &mut *write(&self.centre.board);
        if board.supervision.poll_timeout().is_none_or(|at| at <= now) {
            board.supervision.handle_timeout(now);
        }
        let (hears, since) = (board.broker.0, board.broker.1.max(Some(self.since)));
        let silent = board.gateways.iter().filter(|(id, gateway)| {
            hears
                && self.part.has(id)
                && gateway.online == Some(true)
                && gateway.last_seen_at.max(since).is_none_or(|at| now.since_ms(at) > SILENT_MS)
        });
        let silent: Vec<(GatewayId, Timestamp)> =
            silent.map(|(id, gateway)| (id.clone(), gateway.last_seen_at.unwrap_or(now))).collect();
        for (gateway, since) in silent {
            board.set_link(&gateway, false, since, now);
            self.engine.gateway_offline(&gateway, since, now);
        }
        if !board.supervision.take_changed().is_empty() {
            self.live.rollup_changed();
        }
    }
}
