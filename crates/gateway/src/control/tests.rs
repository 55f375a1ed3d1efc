//! Scores: what happens, and what control does about it.

use std::sync::Arc;

use sitian_model::Quality;
use sitian_poll::{Failure, Values};
use sitian_profile::{Catalogue, Profile, builtin, catalogue_text};
use sitian_wire::Holds;

use super::*;

const WALL: i64 = 1_750_000_000_000;

fn relay() -> Output {
    let catalogue = Catalogue::parse("measurements.toml", catalogue_text()).expect("a catalogue");
    let (file, text) = builtin().iter().find(|(file, _)| *file == "waveshare-relay-8.toml").expect("a relay");
    let profile = Arc::new(Profile::parse(file, text, &catalogue).expect("a profile"));
    let mut write = profile.points[0].write.clone().expect("an output");
    write.on_max_s = 600;
    Output {
        device: "relay".to_owned(),
        point: "relay_1".to_owned(),
        label: "阀".to_owned(),
        shown: true,
        bus: 0,
        position: 0,
        unit: 1,
        timeout_ms: 500,
        profile,
        written: 0,
        read: 0,
        write,
        from_centre: true,
        link_loss_ms: 60_000,
        requires: vec![Require {
            point: 7,
            name: "tank/water_level".to_owned(),
            min: 0.5,
            max: f64::INFINITY,
            age_max_ms: 30_000,
        }],
    }
}

fn order(id: &str, value: f64) -> Order {
    Order {
        id: id.to_owned(),
        device: "relay".to_owned(),
        point: "relay_1".to_owned(),
        value,
        by: "somebody".to_owned(),
        centre: true,
        expires_ms: 0,
        for_s: 0,
    }
}

/// A gateway in miniature: its disk and its relay do at once what they are told.
struct World {
    control: Control,
    disk: Vec<Entry>,
    /// What the relay was told, with the time.
    written: Vec<(u64, bool)>,
    told: Vec<(String, State, String)>,
    relay: Result<(), Failure>,
    /// The card takes records; none at all: it does not even answer.
    card: Option<bool>,
    now: u64,
}

impl World {
    fn new(output: Output, disk: Vec<Entry>) -> Self {
        Self::on_card(Some(true), output, disk, true)
    }

    fn on_card(card: Option<bool>, output: Output, disk: Vec<Entry>, whole: bool) -> Self {
        let control = Control::new(vec![output], disk.clone(), whole, 0, WALL);
        let (written, told) = (Vec::new(), Vec::new());
        let mut world = Self { control, disk, written, told, relay: Ok(()), card, now: 0 };
        world.control.handle_link(true, 0);
        world.work();
        world
    }

    fn work(&mut self) {
        while let Some(command) = self.control.poll_command() {
            match command {
                Command::Keep(entry) => match self.card {
                    Some(true) => {
                        self.disk.push(entry);
                        self.control.handle_kept(self.now);
                    }
                    Some(false) => self.control.handle_unkept(WALL + self.now as i64),
                    None => {}
                },
                Command::Write(0, order) => {
                    let Values::Coil(on) = order.request.values else { panic!("{order:?}") };
                    self.written.push((self.now, on));
                    let done = WriteDone {
                        ticket: order.ticket,
                        written: self.relay.clone(),
                        read_back: self.relay.clone().ok().map(|()| Ok(vec![u16::from(on)])),
                    };
                    self.control.handle_written(done, self.now, WALL + self.now as i64);
                }
                Command::Write(bus, _) => panic!("bus {bus}"),
                Command::Tell(outcome) => {
                    self.told.push((outcome.order.id, outcome.state, outcome.detail));
                }
            }
        }
    }

    fn order(&mut self, order: Order) {
        self.control.handle_order(order, self.now, WALL + self.now as i64);
        self.work();
    }

    fn level(&mut self, value: f64) {
        let sample = Sample { point: 7, value: Some(value), quality: Quality::Good };
        self.control.handle_sample(&sample, self.now);
        self.work();
    }

    /// Lets time go by, with a good level every ten seconds.
    fn until(&mut self, end: u64) {
        while self.now < end {
            let due = self.control.poll_timeout().unwrap_or(u64::MAX);
            self.now = due.max(self.now + 1).min((self.now / 10_000 + 1) * 10_000).min(end);
            self.control.handle_timeout(self.now);
            self.work();
            if self.now.is_multiple_of(10_000) {
                self.level(1.0);
            }
        }
    }

    fn last(&self) -> (&str, State, &str) {
        let (id, state, detail) = self.told.last().expect("something was told");
        (id, *state, detail)
    }
}

#[test]
fn an_order_is_kept_written_read_back_kept_and_told_once() {
    let mut world = World::new(relay(), Vec::new());
    world.level(1.0);
    world.order(order("a", 1.0));
    assert_eq!(world.written, [(0, true)]);
    assert_eq!(world.last(), ("a", State::Done, "read back; the device confirmed"));
    assert!(matches!(&world.disk[..], [Entry::Accepted(_), Entry::Ended(_)]), "{:?}", world.disk);
    // The same id again: told again, and nothing else.
    world.order(order("a", 1.0));
    assert_eq!((world.written.len(), world.disk.len(), world.told.len()), (1, 2, 2));
    // Also after a restart, where it goes back to safety.
    let mut next = World::new(relay(), world.disk);
    assert_eq!(next.written, [(0, false)]);
    next.order(order("a", 1.0));
    assert_eq!(next.written.len(), 1);
}

#[test]
fn what_is_not_allowed_is_refused_with_the_reason_and_nothing_is_written() {
    for (name, output, order, level, reason) in [
        ("other point", relay(), Order { point: "relay_9".into(), ..order("a", 1.0) }, 1.0, "no output"),
        ("not from there", Output { from_centre: false, ..relay() }, order("a", 1.0), 1.0, "from_centre"),
        ("too much", relay(), order("a", 2.0), 1.0, "not between 0 and 1"),
        ("no number", relay(), order("a", f64::NAN), 1.0, "not between"),
        ("too late", relay(), Order { expires_ms: WALL - 1, ..order("a", 1.0) }, 1.0, "too late"),
        ("interlock", relay(), order("a", 1.0), 0.4, "tank/water_level is 0.4, below 0.5"),
    ] {
        let mut world = World::new(output, Vec::new());
        world.level(level);
        world.order(order);
        assert_eq!(world.written, [], "{name}");
        let (id, state, detail) = world.last();
        assert_eq!((id, state), ("a", State::Refused), "{name}");
        assert!(detail.contains(reason), "{name}: {detail}");
    }
    let mut world = World::new(relay(), Vec::new());
    world.order(order("a", 1.0));
    assert_eq!(world.last().2, "interlock: tank/water_level is not known");
    world.order(order("b", 0.0));
    assert_eq!(world.last().1, State::Done, "safety needs no permission");
    world.level(1.0);
    world.now = 30_001;
    world.order(order("c", 1.0));
    assert_eq!(world.last().2, "interlock: tank/water_level is not known", "an old value says nothing");
}

#[test]
fn an_output_goes_back_to_safety_when_its_reason_is_gone() {
    let on = || {
        let mut world = World::new(relay(), Vec::new());
        world.level(1.0);
        world.order(order("a", 1.0));
        world
    };
    let mut longest = on();
    longest.until(700_000);
    assert_eq!(longest.written, [(0, true), (600_000, false)]);
    let mut dry = on();
    dry.until(20_000);
    dry.level(0.3);
    assert_eq!(dry.written, [(0, true), (20_000, false)]);
    let mut alone = on();
    alone.until(30_000);
    alone.control.handle_link(false, 30_000);
    alone.control.handle_link(false, 50_000);
    alone.until(200_000);
    assert_eq!(alone.written, [(0, true), (90_000, false)]);
    let mut back = on();
    back.control.handle_link(false, 0);
    back.until(50_000);
    back.control.handle_link(true, 50_000);
    back.until(200_000);
    assert_eq!(back.written, [(0, true)], "a short outage changes nothing");
    // A new order before the time is over counts from then on.
    let mut again = on();
    again.until(500_000);
    again.order(order("b", 1.0));
    again.until(1_200_000);
    assert_eq!(again.written, [(0, true), (500_000, true), (1_100_000, false)]);
}

#[test]
fn safety_is_tried_until_it_is_reached_at_growing_distances() {
    let mut world = World::new(relay(), Vec::new());
    world.level(1.0);
    world.order(order("a", 1.0));
    world.relay = Err(Failure::Timeout);
    world.until(640_000);
    let tries: Vec<u64> = world.written[1..].iter().map(|(at, on)| if *on { 0 } else { *at }).collect();
    assert_eq!(tries, [600_000, 605_000, 615_000, 635_000]);
    assert_eq!(world.last().1, State::Failed);
    world.relay = Ok(());
    world.until(900_000);
    assert_eq!(world.written.len(), 6);
    assert_eq!(world.last().1, State::Done);
}

#[test]
fn a_process_that_died_half_way_tells_so_and_restores_safety_at_its_next_start() {
    let disk = vec![Entry::Accepted(order("a", 1.0))];
    let world = World::new(relay(), disk);
    assert_eq!(world.written, [(0, false)]);
    let (_, state, detail) = &world.told[0];
    assert_eq!((*state, detail.as_str()), (State::Failed, "the gateway restarted before it knew"));
    let safe = World::new(relay(), world.disk);
    assert_eq!(safe.written, [], "it is safe already");
}

#[test]
fn a_card_that_takes_no_records_stops_no_move_to_safety_and_every_other_order() {
    for card in [Some(false), None] {
        // At the start: from the record of an order, and without knowing anything.
        let away = vec![Entry::Accepted(order("a", 1.0))];
        let world = World::on_card(card, relay(), away, true);
        assert_eq!(world.written, [(0, false)], "{card:?}");
        let world = World::on_card(card, relay(), Vec::new(), false);
        assert_eq!(world.written, [(0, false)], "{card:?}: a journal that cannot be read tells nothing");
        let world = World::on_card(card, relay(), Vec::new(), true);
        assert_eq!(world.written, [], "{card:?}: nothing was ever ordered");
        // At the longest time, at a broken precondition, and when people want it.
        for last in ["longest", "interlock", "order"] {
            let mut world = World::new(relay(), Vec::new());
            world.level(1.0);
            world.order(order("a", 1.0));
            world.card = card;
            world.until(20_000);
            let at = match last {
                "longest" => {
                    world.until(700_000);
                    600_000
                }
                "interlock" => {
                    world.level(0.1);
                    20_000
                }
                _ => {
                    world.order(order("b", 0.0));
                    20_000
                }
            };
            assert_eq!(world.written, [(0, true), (at, false)], "{card:?} {last}");
            if card == Some(false) {
                let (_, state, detail) = world.last();
                assert_eq!(state, State::Done);
                assert!(
                    detail.ends_with("not recorded by the gateway: the card takes no records"),
                    "{detail}"
                );
            }
        }
    }
    let mut world = World::on_card(Some(false), relay(), Vec::new(), true);
    world.level(1.0);
    for _ in 0..2 {
        world.order(order("a", 1.0));
        assert_eq!(world.written, []);
        let (id, state, detail) = world.last();
        assert_eq!((id, state), ("a", State::Refused));
        assert!(detail.starts_with("the card takes no records"), "{detail}");
    }
    world.card = Some(true);
    world.order(order("b", 1.0));
    assert_eq!(world.written, [(0, true)], "a card that works again is used again");
}

#[test]
fn an_order_that_waits_for_the_card_is_not_executed_after_a_later_move_to_safety() {
    let mut world = World::new(relay(), Vec::new());
    world.level(1.0);
    world.card = None;
    world.order(order("open", 1.0));
    world.order(order("close", 0.0));
    assert_eq!(world.written, [(0, false)]);
    world.card = Some(true);
    // The card wakes up: both orders, what came of the first, what came of the second.
    for _ in 0..4 {
        world.control.handle_kept(0);
    }
    world.work();
    assert_eq!(world.written, [(0, false)]);
    let told: Vec<_> = world.told.iter().map(|(id, state, _)| (id.as_str(), *state)).collect();
    assert_eq!(told, [("open", State::Refused), ("close", State::Done)]);
}

#[test]
fn orders_beyond_what_the_card_can_take_are_refused_at_once() {
    let mut world = World::on_card(None, relay(), Vec::new(), true);
    for n in 0..10_000 {
        world.order(order(&format!("flood-{n}"), 2.0));
    }
    assert_eq!(world.told.len(), 10_000 - KEEPING_MAX);
    assert_eq!(world.last().2, "too many commands wait for the card");
}

#[test]
fn results_are_told_again_until_the_centre_confirms_them() {
    let mut world = World::new(relay(), Vec::new());
    world.level(1.0);
    world.order(order("a", 1.0));
    world.order(order("b", 0.0));
    world.told.clear();
    world.control.handle_link(false, 0);
    world.control.handle_link(true, 0);
    world.work();
    assert_eq!(world.told.iter().map(|told| told.0.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    world.control.handle_confirmed("a");
    world.control.handle_confirmed("a");
    world.work();
    let mut next = World::new(relay(), world.disk);
    next.control.handle_link(true, 0);
    next.told.clear();
    next.work();
    assert_eq!(next.told.iter().map(|told| told.0.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn a_result_counts_only_as_what_was_read_back() {
    let read = |word: u16| Some(Ok(vec![word]));
    for (written, read_back, state) in [
        (Ok(()), read(1), State::Done),
        (Err(Failure::Timeout), read(1), State::Done),
        (Ok(()), read(0), State::Failed),
        (Ok(()), None, State::Failed),
        (Ok(()), Some(Err(Failure::Timeout)), State::Failed),
        (Err(Failure::Exception(2)), read(0), State::Failed),
    ] {
        let done = WriteDone { ticket: 1, written, read_back };
        assert_eq!(relay().judge(1.0, &done).0, state, "{done:?}");
    }
}

#[test]
fn other_outputs_take_over_what_is_known_of_an_output_and_its_preconditions() {
    let output = relay();
    let mut renumbered = Output { position: 4, ..relay() };
    renumbered.requires[0].point = 2;
    assert!(output.is_like(&renumbered), "numbers are no rules");
    assert!(!output.is_like(&Output { from_centre: false, ..relay() }));
    let mut world = World::new(output, Vec::new());
    world.level(1.0);
    world.order(order("on", 1.0));
    assert_eq!(world.last().1, State::Done);
    assert!(world.control.is_quiet());
    let other = Output { point: "relay_2".to_owned(), ..relay() };
    world.control.handle_outputs(vec![other, renumbered.clone()]);
    assert_eq!(world.control.away().collect::<Vec<_>>(), [&renumbered]);
    world.order(order("again", 1.0));
    assert_eq!(world.last().1, State::Done, "the level is known under its new number");
    world.control.handle_sample(&Sample { point: 2, value: Some(0.1), quality: Quality::Good }, world.now);
    world.work();
    assert_eq!(world.written.last().map(|written| written.1), Some(false), "and its loss ends the order");
}

#[test]
fn an_order_may_ask_for_less_time_than_its_output_allows_and_never_gets_more() {
    for (for_s, end) in [(0, 600_000), (60, 60_000), (600, 600_000), (9_000, 600_000)] {
        let mut world = World::new(relay(), Vec::new());
        world.level(1.0);
        world.order(Order { for_s, ..order("a", 1.0) });
        world.until(700_000);
        assert_eq!(world.written, [(0, true), (end, false)], "{for_s}");
        let by = |entry: &Entry| matches!(entry, Entry::Ended(o) if o.order.by.contains(&format!("{} s is over", end / 1_000)));
        assert!(world.disk.iter().any(by), "{for_s}: {:?}", world.disk);
    }
}

#[test]
fn the_centre_is_told_how_outputs_stand_and_which_of_their_conditions_hold() {
    let mut world = World::new(relay(), Vec::new());
    let told = |world: &World| {
        let output = world.control.outputs(world.now).remove(0);
        (output.away, output.until_ms, output.requirements[0].holds)
    };
    assert_eq!(told(&world), (false, None, Holds::Unknown));
    world.level(0.3);
    assert_eq!(told(&world), (false, None, Holds::Below));
    world.level(1.0);
    world.order(Order { for_s: 60, ..order("a", 1.0) });
    assert_eq!(told(&world), (true, Some(60_000), Holds::Yes));
    world.until(60_000);
    assert_eq!(told(&world), (false, None, Holds::Yes));
    world.now = 100_000;
    assert_eq!(told(&world), (false, None, Holds::Unknown), "an old value says nothing");
    let output = world.control.outputs(0).remove(0);
    assert_eq!((output.name.as_str(), output.read.as_str(), output.on_max_s), ("阀", "relay_1", 600));
    assert_eq!((output.requirements[0].min, output.requirements[0].max), (Some(0.5), None));
    let hidden = World::new(Output { shown: false, ..relay() }, Vec::new());
    assert_eq!(hidden.control.outputs(0), [], "the configuration does not speak of it");
}
