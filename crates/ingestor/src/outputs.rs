//! What gateways can switch: how it stands, and the way of a command there.

use sitian_api::BackendError;
use sitian_api::view::{self, Command, Condition, NewCommand, Output};
use sitian_model::{GatewayId, PointId, Timestamp};
use sitian_wire::{CommandMessage, Holds, Requirement, WriteCommand};

use crate::admit::now;
use crate::backend::Centre;
use crate::board::{Board, BoardGateway, BoardPoint};
use crate::commands::{OrderError, WAITING_MAX, order};

impl Centre {
    /// Notes a command durably and sends it.
    pub fn give(&self, command: &NewCommand) -> Result<Command, BackendError> {
        if self.others.is_some() {
            let why = "outputs are not switched while several ingestors share the work (registry.shared); nothing was sent";
            return Err(BackendError::Invalid(why.to_owned()));
        }
        let now = now();
        let gateway = GatewayId::new(&command.gateway).map_err(|_| BackendError::NotFound("gateway"))?;
        let can_limit = {
            let board = self.board();
            let known = board.gateways.get(&gateway).ok_or(BackendError::NotFound("gateway"))?;
            !known.outputs.outputs.is_empty()
        };
        if command.for_s.is_some() && !can_limit {
            let why =
                "this gateway has not told its outputs, so nobody knows whether it heeds for_s; leave it out";
            return Err(BackendError::Invalid(why.to_owned()));
        }
        let reason = command.reason.as_deref().unwrap_or_default();
        let page = self.book().order(&gateway, order(command, now), reason, now);
        let page = page.map_err(|error| match error {
            OrderError::TooMany => BackendError::Invalid(format!(
                "{WAITING_MAX} commands of {gateway} wait for an answer already"
            )),
            OrderError::Disk(error) => BackendError::Unavailable(format!("keep the command: {error}")),
        })?;
        self.send_pending(Some(&gateway), now);
        Ok(page.view(&self.presenter, now))
    }

    /// What was ordered, newest first.
    pub fn given(
        &self,
        gateway: Option<&str>,
        scope: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Command>, BackendError> {
        let below: Option<Vec<&str>> = match scope {
            None => None,
            Some(scope) => {
                self.presenter.place(scope)?;
                let nodes = self.territory.descendants(scope, 4).into_iter();
                Some(nodes.flat_map(|node| &node.gateways).map(GatewayId::as_str).collect())
            }
        };
        let wanted = |id: &str| {
            gateway.is_none_or(|gateway| gateway == id)
                && below.as_ref().is_none_or(|below| below.contains(&id))
        };
        let pages = self.book().newest(wanted, limit);
        Ok(pages.into_iter().map(|page| page.view(&self.presenter, now())).collect())
    }

    /// What the gateways of a base can switch.
    pub fn outputs_of(&self, base: &str) -> Result<Vec<Output>, BackendError> {
        let gateways = &self.presenter.base(base)?.gateways;
        let board = self.board();
        let known = gateways.iter().filter_map(|id| board.gateways.get_key_value(id));
        let outputs = known.flat_map(|(id, gateway)| {
            let one = |output| self.output(&board, id, gateway, output);
            gateway.outputs.outputs.iter().map(one).collect::<Vec<_>>()
        });
        Ok(outputs.collect())
    }

    /// Sends what this gateway, or all of them, still has to be told.
    pub fn send_pending(&self, gateway: Option<&GatewayId>, now: Timestamp) {
        let pending = self.book().pending(gateway, now);
        self.send(pending);
    }

    /// Sends again what nobody has answered.
    pub fn send_overdue(&self, now: Timestamp) {
        let overdue = self.book().overdue(now);
        self.send(overdue);
    }

    fn send(&self, writes: Vec<(GatewayId, WriteCommand)>) {
        for (gateway, write) in writes {
            self.outlet.command(&gateway, &CommandMessage::Write(write));
        }
    }

    fn output(
        &self,
        board: &Board,
        id: &GatewayId,
        gateway: &BoardGateway,
        output: &sitian_wire::Output,
    ) -> Output {
        let device = gateway.devices.iter().find(|device| device.id.as_str() == output.device);
        let shown = point(board, id, &output.device, &output.read).and_then(|point| point.latest);
        let name = match output.name.as_str() {
            "" => self.presenter.measurement_name(&output.measurement),
            name => view::Name { zh: name.to_owned(), en: name.to_owned() },
        };
        let last = self.book().last(id, &output.device, &output.point);
        Output {
            gateway: id.to_string(),
            device: output.device.clone(),
            point: output.point.clone(),
            device_name: device.map(|device| device.name.clone()).unwrap_or_default(),
            place: device.map(|device| device.place.clone()).unwrap_or_default(),
            name,
            unit: output.unit.clone(),
            min: output.min,
            max: output.max,
            safe: output.safe,
            on_max_s: Some(output.on_max_s).filter(|s| *s > 0),
            from_centre: output.from_centre,
            safe_without_link_s: Some(output.safe_without_link_s).filter(|s| *s > 0),
            value: shown.and_then(|row| row.value),
            value_at: shown.map(|row| self.presenter.time(row.at)),
            away: output.away,
            until: output.until_ms.map(|at| self.presenter.time(Timestamp(at))),
            conditions: output.requirements.iter().map(|one| self.condition(board, id, one)).collect(),
            told_at: self.presenter.time(Timestamp(gateway.outputs.at_ms)),
            last: last.map(|page| page.view(&self.presenter, now())),
        }
    }

    fn condition(&self, board: &Board, id: &GatewayId, requirement: &Requirement) -> Condition {
        let Requirement { device, point: key, min, max, holds } = requirement;
        let point = point(board, id, device, key);
        let measurement = point.map_or(key.as_str(), |point| point.entry.info.measurement.as_str());
        Condition {
            point: format!("{id}/{device}/{key}"),
            device_name: point.map(|point| point.entry.device.name.clone()).unwrap_or_default(),
            name: self.presenter.measurement_name(measurement),
            unit: point.map(|point| point.entry.info.unit.clone()).unwrap_or_default(),
            min: *min,
            max: *max,
            value: point.and_then(|point| point.latest).and_then(|row| row.value),
            holds: match holds {
                Holds::Yes => view::Holds::Yes,
                Holds::Unknown => view::Holds::Unknown,
                Holds::Below => view::Holds::Below,
                Holds::Above => view::Holds::Above,
            },
        }
    }
}

fn point<'b>(board: &'b Board, gateway: &GatewayId, device: &str, key: &str) -> Option<&'b BoardPoint> {
    let id = PointId::parse(&format!("{gateway}/{device}/{key}")).ok()?;
    board.points.get(board.numbers.get(&id)?)
}
