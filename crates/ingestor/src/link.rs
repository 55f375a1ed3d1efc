//! The centre's end of the pipe: messages from the broker become asks, acks and alerts become messages.

use sitian_model::{Ack, BaseId, GatewayId};
use sitian_mqtt::{Event, Publisher, Qos};
use sitian_wire::topic::{Kind, Topic};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::admit::Ask;

/// What the centre listens to.
pub fn subscriptions() -> Vec<(String, Qos)> {
    let kinds = [Kind::Up, Kind::Manifest, Kind::State, Kind::Result, Kind::Outputs];
    kinds.map(|kind| (sitian_wire::topic::filter_all(kind), Qos::AtLeastOnce)).to_vec()
}

/// Passes events on. When `asks` is full the link stops reading from the broker: back-pressure reaches the gateways.
/// Ends when the link or the admission does.
pub async fn listen(mut events: mpsc::Receiver<Event>, asks: mpsc::Sender<Ask>) {
    while let Some(event) = events.recv().await {
        let ask = match event {
            Event::Message { topic, payload, retain } => Ask::Message { topic, payload, retain },
            Event::Up { .. } => {
                info!("link to the broker is up");
                Ask::Link(true)
            }
            Event::Down { reason } => {
                warn!(reason, "link to the broker is down");
                Ask::Link(false)
            }
        };
        if asks.send(ask).await.is_err() {
            return;
        }
    }
}

/// Where acks and alerts leave. Nothing here waits: a lost ack is asked for again, an alert is in the durable log.
pub struct Outlet(Option<Publisher>);

impl Outlet {
    /// An outlet on a link.
    pub fn new(publisher: Publisher) -> Self {
        Self(Some(publisher))
    }

    /// An outlet that leads nowhere, for work without a broker.
    pub fn closed() -> Self {
        Self(None)
    }

    /// Sends an ack, QoS 0.
    pub fn ack(&self, gateway: &GatewayId, ack: &Ack) {
        let Some(publisher) = &self.0 else { return };
        let topic = Topic::Ack(gateway.clone()).to_string();
        if let Err(error) =
            publisher.try_publish(&topic, Qos::AtMostOnce, false, sitian_wire::encode_ack(ack))
        {
            debug!(%gateway, %error, "ack not sent");
        }
    }

    /// Sends a command or a confirmation, QoS 1. What is lost is sent again.
    pub fn command(&self, gateway: &GatewayId, message: &sitian_wire::CommandMessage) {
        let Some(publisher) = &self.0 else { return };
        let topic = Topic::Command(gateway.clone()).to_string();
        let bytes = sitian_wire::encode_command(message);
        if let Err(error) = publisher.try_publish(&topic, Qos::AtLeastOnce, false, bytes) {
            debug!(%gateway, %error, "command not sent");
        }
    }

    /// Publishes an alert of a base as JSON, QoS 1.
    pub fn alert(&self, base: Option<&BaseId>, alert: &sitian_api::view::Alert) {
        let (Some(base), Some(publisher)) = (base, &self.0) else { return };
        let topic = Topic::Alert(base.clone()).to_string();
        let sent = serde_json::to_vec(alert)
            .map(|json| publisher.try_publish(&topic, Qos::AtLeastOnce, false, json));
        if !matches!(sent, Ok(Ok(_))) {
            debug!(%base, "alert not published");
        }
    }
}
