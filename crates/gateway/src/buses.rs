//! The buses that run: one task each. A new configuration ends those that are not in it as they are and starts what is
//! new; the others poll on without noticing. They number their points as they did when they were started, so what comes
//! from them is renumbered here.

use std::collections::BTreeMap;

use anyhow::Result;
use sitian_dialect as dialect;
use sitian_fieldbus::{BusSettings, StreamSettings};
use sitian_model::{DeviceId, Manifest, PointIndex};
use sitian_poll::{BusPlan, Sample, WriteOrder};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::info;

use crate::board::{Board, BusRow};
use crate::field::{self, FromField, Outlet};
use crate::plan::{PlannedBus, TalkingBus};

/// Rounds of samples waiting for the loop; when it is full the buses wait.
const ROUNDS_MAX: usize = 1_024;
/// Writes on their way to one bus.
const ORDERS_MAX: usize = 16;

/// Everything about a bus that its task works by; points are numbered from 0.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Modbus(String, BusSettings, BusPlan, Vec<DeviceId>),
    Talking(String, StreamSettings, dialect::BusPlan, Vec<DeviceId>),
}

impl Shape {
    /// The shape, and the numbers that the points have in their manifest.
    fn of_modbus(bus: &PlannedBus) -> (Self, Vec<PointIndex>) {
        let mut plan = bus.plan.clone();
        let points = plan.devices.iter_mut().flat_map(|device| &mut device.points);
        let numbers = (0..).zip(points).map(|(n, point)| std::mem::replace(&mut point.point, n)).collect();
        (Self::Modbus(bus.name.clone(), bus.settings.clone(), plan, bus.devices.clone()), numbers)
    }

    fn of_talking(bus: &TalkingBus) -> (Self, Vec<PointIndex>) {
        let mut plan = bus.plan.clone();
        let points = plan.devices.iter_mut().flat_map(|device| &mut device.points);
        let numbers = (0..).zip(points).map(|(n, point)| std::mem::replace(&mut point.point, n)).collect();
        (Self::Talking(bus.name.clone(), bus.settings.clone(), plan, bus.devices.clone()), numbers)
    }

    fn name(&self) -> &str {
        match self {
            Self::Modbus(name, ..) | Self::Talking(name, ..) => name,
        }
    }
}

fn shapes(buses: &[PlannedBus], talking: &[TalkingBus]) -> Vec<Shape> {
    let modbus = buses.iter().map(|bus| Shape::of_modbus(bus).0);
    modbus.chain(talking.iter().map(|bus| Shape::of_talking(bus).0)).collect()
}

/// Positions of those that are not among the others as they are.
fn missing<'a>(these: impl Iterator<Item = &'a Shape>, others: &[Shape]) -> Vec<usize> {
    these.enumerate().filter(|(_, shape)| !others.contains(shape)).map(|(at, _)| at).collect()
}

struct Running {
    number: u64,
    shape: Shape,
    /// The points as the task numbers them, and as the present manifest does.
    own: Vec<PointIndex>,
    present: BTreeMap<PointIndex, PointIndex>,
    /// `None`: it was hung up on and comes to its end.
    orders: Option<mpsc::Sender<WriteOrder>>,
}

/// The buses of a gateway.
pub struct Buses {
    running: Vec<Running>,
    next: u64,
    field: mpsc::Sender<(u64, FromField)>,
    board: Board,
    tasks: JoinSet<Result<()>>,
}

impl Buses {
    /// Starts them, numbered from 0, and says where to listen to them.
    pub fn start(
        buses: Vec<PlannedBus>,
        talking: Vec<TalkingBus>,
        board: &Board,
    ) -> (Self, mpsc::Receiver<(u64, FromField)>) {
        let (field, listen) = mpsc::channel(ROUNDS_MAX);
        let (running, tasks) = (Vec::new(), JoinSet::new());
        let mut started = Self { running, next: 0, field, board: board.clone(), tasks };
        buses.into_iter().for_each(|bus| started.start_modbus(bus));
        talking.into_iter().for_each(|bus| started.start_talking(bus));
        (started, listen)
    }

    fn start_modbus(&mut self, bus: PlannedBus) {
        let (shape, numbers) = Shape::of_modbus(&bus);
        let (orders, outlet, board) = (self.register(shape, numbers), self.outlet(), self.board.clone());
        self.tasks.spawn(async move {
            let outcome = field::poll(bus, orders, outlet.clone(), board).await;
            outlet.put(FromField::Ended).await;
            outcome
        });
    }

    fn start_talking(&mut self, bus: TalkingBus) {
        let (shape, numbers) = Shape::of_talking(&bus);
        let (orders, outlet, board) = (self.register(shape, numbers), self.outlet(), self.board.clone());
        self.tasks.spawn(async move {
            let outcome = crate::talk::talk(bus, orders, outlet.clone(), board).await;
            outlet.put(FromField::Ended).await;
            outcome
        });
    }

    fn register(&mut self, shape: Shape, own: Vec<PointIndex>) -> mpsc::Receiver<WriteOrder> {
        let (orders, waiting) = mpsc::channel(ORDERS_MAX);
        let present = own.iter().map(|number| (*number, *number)).collect();
        self.running.push(Running { number: self.next, shape, own, present, orders: Some(orders) });
        self.next += 1;
        waiting
    }

    /// Of the bus that was registered last.
    fn outlet(&self) -> Outlet {
        Outlet::of(self.field.clone(), self.next - 1)
    }

    /// Waits until a task ends by itself, which none should. May be dropped half-way.
    pub async fn failed(&mut self) -> anyhow::Error {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => return error.context("go on: a bus ended"),
                Some(Err(error)) => return anyhow::Error::new(error).context("go on: a bus ended"),
                None => std::future::pending().await,
            }
        }
    }

    /// Where the writes for these buses go, in this order; to none if they do not run like this.
    pub fn orders(&self, buses: &[PlannedBus]) -> Vec<mpsc::Sender<WriteOrder>> {
        let orders = |bus: &PlannedBus| {
            let running = self.find(&Shape::of_modbus(bus).0).and_then(|at| self.running[at].orders.clone());
            running.unwrap_or_else(|| mpsc::channel(1).0)
        };
        buses.iter().map(orders).collect()
    }

    /// Hangs up on every bus that is not among these as it is; it ends when the returned senders are gone as well as all
    /// others.
    pub fn end_others(
        &mut self,
        buses: &[PlannedBus],
        talking: &[TalkingBus],
    ) -> Vec<mpsc::Sender<WriteOrder>> {
        let wanted = shapes(buses, talking);
        let mut ended = Vec::new();
        for at in missing(self.running.iter().map(|running| &running.shape), &wanted) {
            let running = &mut self.running[at];
            if let Some(orders) = running.orders.take() {
                info!(bus = running.shape.name(), "bus ends: the configuration has it no more, or otherwise");
                ended.push(orders);
            }
        }
        ended
    }

    /// Everything has come from this bus.
    pub fn handle_ended(&mut self, number: u64) {
        self.running.retain(|running| running.number != number);
    }

    /// No bus is coming to its end.
    pub fn are_settled(&self) -> bool {
        self.running.iter().all(|running| running.orders.is_some())
    }

    /// Starts those of these buses that do not run yet, and numbers the points of all as these do.
    pub fn go_on(&mut self, buses: Vec<PlannedBus>, talking: Vec<TalkingBus>, manifest: &Manifest) {
        let (mut rows, mut next) = (Vec::new(), self.next);
        let mut number = |running: Option<u64>| {
            running.unwrap_or_else(|| {
                next += 1;
                next - 1
            })
        };
        let (mut fresh, mut fresh_talking) = (Vec::new(), Vec::new());
        for bus in buses {
            let (shape, numbers) = Shape::of_modbus(&bus);
            let running = self.renumber(&shape, &numbers);
            rows.push((number(running), BusRow::of_modbus(&bus, manifest)));
            fresh.extend(running.is_none().then_some(bus));
        }
        for bus in talking {
            let (shape, numbers) = Shape::of_talking(&bus);
            let running = self.renumber(&shape, &numbers);
            rows.push((number(running), BusRow::of_talking(&bus, manifest)));
            fresh_talking.extend(running.is_none().then_some(bus));
        }
        self.board.renew(rows);
        for bus in fresh {
            info!(bus = bus.name, "bus starts");
            self.start_modbus(bus);
        }
        for bus in fresh_talking {
            info!(bus = bus.name, "bus starts");
            self.start_talking(bus);
        }
    }

    fn renumber(&mut self, shape: &Shape, numbers: &[PointIndex]) -> Option<u64> {
        let at = self.find(shape)?;
        let running = &mut self.running[at];
        running.present = running.own.iter().copied().zip(numbers.iter().copied()).collect();
        Some(running.number)
    }

    fn find(&self, shape: &Shape) -> Option<usize> {
        self.running.iter().position(|running| running.orders.is_some() && running.shape == *shape)
    }

    /// Gives the samples of this bus the numbers of the present manifest.
    pub fn translate(&self, number: u64, samples: &mut Vec<Sample>) {
        let Some(running) = self.running.iter().find(|running| running.number == number) else {
            return samples.clear();
        };
        samples.retain_mut(|sample| {
            running.present.get(&sample.point).map(|present| sample.point = *present).is_some()
        });
    }
}

#[cfg(test)]
mod tests;
