//! Writes go before polls, are read back, and never wait behind a dead neighbour; blocks with missing registers are learned.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use sitian_model::{Cause, Quality};
use sitian_poll::{
    Answer, BusPlan, Command, DevicePlan, Failure, Function, PointPlan, Poller, Request, Sample, Values,
    WriteDone, WriteOrder, WriteRequest,
};
use sitian_profile::{Catalogue, Profile, builtin, catalogue_text};

fn profile(id: &str) -> Profile {
    let catalogue = Catalogue::parse("measurements.toml", catalogue_text()).unwrap();
    let file = format!("{id}.toml");
    let (file, text) = builtin().iter().find(|(name, _)| *name == file).unwrap();
    Profile::parse(file, text, &catalogue).unwrap()
}

fn device(unit: u8, profile: Profile) -> DevicePlan {
    let point =
        |n| PointPlan { point: u32::from(unit) * 100 + n as u32, profile_point: n, interval_ms: 1_000 };
    DevicePlan {
        unit,
        points: (0..profile.points.len()).map(point).collect(),
        profile: Arc::new(profile),
        timeout_ms: 200,
        retries: 1,
        priority: 0,
    }
}

fn poller(devices: Vec<DevicePlan>) -> Poller {
    Poller::new(BusPlan { devices, pause_ms: 10, hold_off: true }, 0)
}

fn drain(poller: &mut Poller) -> Vec<Command> {
    std::iter::from_fn(|| poller.poll_command()).filter(|c| !matches!(c, Command::Samples(_))).collect()
}

fn coil(on: bool) -> WriteRequest {
    WriteRequest { unit: 1, address: 3, values: Values::Coil(on), timeout_ms: 200 }
}

fn back() -> Request {
    Request { unit: 1, function: Function::Coils, address: 3, count: 1, timeout_ms: 200 }
}

fn order(ticket: u64, on: bool) -> WriteOrder {
    WriteOrder { ticket, device: 0, request: coil(on), read_back: Some(back()), settle_ms: 50 }
}

fn relay_bus() -> Poller {
    poller(vec![device(1, profile("waveshare-relay-8")), device(2, profile("xy-md02"))])
}

#[test]
fn a_write_goes_first_is_read_back_after_it_settled_and_polls_run_meanwhile() {
    let mut poller = relay_bus();
    let polls = drain(&mut poller);
    poller.handle_write(order(7, true), 5).unwrap();
    assert_eq!(drain(&mut poller), [], "one request at a time");
    assert!(matches!(polls[..], [Command::Send(..)]));
    poller.handle_answer(Ok(Answer::Bits(vec![false; 8])), 20);
    poller.handle_timeout(30);
    assert_eq!(drain(&mut poller), [Command::Write(coil(true), 0)]);
    poller.handle_answer(Ok(Answer::Written), 45);
    poller.handle_timeout(55);
    let meanwhile = drain(&mut poller);
    assert!(matches!(meanwhile[..], [Command::Send(Request { unit: 2, .. }, 1)]), "{meanwhile:?}");
    poller.handle_answer(Ok(Answer::Registers(vec![100, 500])), 80);
    assert_eq!(poller.poll_timeout(), Some(95), "50 ms after it was written");
    poller.handle_timeout(95);
    assert_eq!(drain(&mut poller), [Command::Send(back(), 0)]);
    poller.handle_answer(Ok(Answer::Bits(vec![true])), 110);
    let done = WriteDone { ticket: 7, written: Ok(()), read_back: Some(Ok(vec![1])) };
    assert_eq!(drain(&mut poller), [Command::Written(done)]);
}

/// Plays the answers to a write and its reading back, and returns what came of it and how many requests it took.
fn outcome(answers: &[Result<Answer, Failure>]) -> (WriteDone, usize) {
    let mut poller =
        poller(vec![DevicePlan { points: Vec::new(), ..device(1, profile("waveshare-relay-8")) }]);
    poller.handle_write(order(1, true), 0).unwrap();
    let (mut now, mut sent) = (0, 0);
    let mut answers = answers.iter();
    loop {
        for command in drain(&mut poller) {
            match command {
                Command::Written(done) => return (done, sent),
                _ => {
                    sent += 1;
                    now += 20;
                    poller.handle_answer(answers.next().expect("an answer in the score").clone(), now);
                }
            }
        }
        now = poller.poll_timeout().map_or(now, |at| at.max(now));
        poller.handle_timeout(now);
    }
}

#[test]
fn what_came_of_a_write_is_told_as_it_is() {
    let on = || Ok(Answer::Bits(vec![true]));
    let off = || Ok(Answer::Bits(vec![false]));
    let lost = || Err(Failure::Timeout);
    let read = |bit: u16| Some(Ok(vec![bit]));
    for (name, answers, written, read_back, sent) in [
        ("plain", vec![Ok(Answer::Written), on()], Ok(()), read(1), 2),
        ("refused by the relay", vec![Ok(Answer::Written), off()], Ok(()), read(0), 2),
        ("repeated", vec![lost(), Ok(Answer::Written), on()], Ok(()), read(1), 3),
        (
            "confirmation lost twice, yet it is on",
            vec![lost(), lost(), on()],
            Err(Failure::Timeout),
            read(1),
            3,
        ),
        ("busy at first", vec![Err(Failure::Exception(6)), Ok(Answer::Written), on()], Ok(()), read(1), 3),
        ("still working", vec![Err(Failure::Exception(5)), on()], Ok(()), read(1), 2),
        ("not allowed", vec![Err(Failure::Exception(2)), off()], Err(Failure::Exception(2)), read(0), 2),
        (
            "no reading back",
            vec![Ok(Answer::Written), lost(), lost()],
            Ok(()),
            Some(Err(Failure::Timeout)),
            3,
        ),
        (
            "unplugged",
            vec![Err(Failure::Unreachable("x".into()))],
            Err(Failure::Unreachable("x".into())),
            None,
            1,
        ),
    ] {
        assert_eq!(outcome(&answers), (WriteDone { ticket: 1, written, read_back }, sent), "{name}");
    }
}

#[test]
fn a_second_write_to_a_device_waits_for_the_first_and_too_many_are_refused() {
    let mut poller = relay_bus();
    drain(&mut poller);
    for ticket in 0..32 {
        poller.handle_write(order(ticket, ticket % 2 == 0), 1).unwrap();
    }
    assert_eq!(poller.handle_write(order(99, true), 1).unwrap_err().ticket, 99);
    assert!(poller.handle_write(WriteOrder { device: 5, ..order(99, true) }, 1).is_err());
    poller.handle_answer(Ok(Answer::Bits(vec![false; 8])), 20);
    let (mut now, mut seen) = (20, Vec::new());
    while seen.len() < 64 {
        now = poller.poll_timeout().unwrap().max(now);
        poller.handle_timeout(now);
        for command in drain(&mut poller) {
            let answer = match command {
                Command::Write(request, 0) => {
                    seen.push(request.values == Values::Coil(true));
                    Answer::Written
                }
                Command::Send(request, 0) if request == back() => {
                    seen.push(*seen.last().unwrap());
                    Answer::Bits(vec![*seen.last().unwrap()])
                }
                Command::Send(request, _) if request.function.is_bits() => {
                    Answer::Bits(vec![false; request.count.into()])
                }
                Command::Send(request, _) => Answer::Registers(vec![0; request.count.into()]),
                _ => continue,
            };
            now += 5;
            poller.handle_answer(Ok(answer), now);
        }
    }
    let expected: Vec<bool> = (0..32).flat_map(|n| [n % 2 == 0; 2]).collect();
    assert_eq!(seen, expected, "each is written and read back before the next");
}

#[test]
fn reading_back_waits_until_no_late_reply_can_be_taken_for_it() {
    let mut poller = poller(vec![device(1, profile("waveshare-relay-8"))]);
    let poll = drain(&mut poller);
    poller.handle_answer(Err(Failure::Timeout), 200);
    poller.handle_timeout(210);
    assert_eq!(drain(&mut poller), poll, "the same again");
    poller.handle_answer(Err(Failure::Timeout), 410);
    poller.handle_write(order(1, true), 420).unwrap();
    assert_eq!(drain(&mut poller), [Command::Write(coil(true), 0)], "a write cannot be mistaken");
    poller.handle_answer(Ok(Answer::Written), 440);
    poller.handle_timeout(500);
    assert_eq!(drain(&mut poller), [], "held off");
    // The late replies of both attempts arrive, and with them the hold-off ends.
    poller.handle_foreign(1, 600);
    poller.handle_foreign(1, 610);
    assert_eq!(drain(&mut poller), [Command::Send(back(), 0)]);
}

#[test]
fn a_block_with_a_register_that_does_not_exist_is_asked_for_in_parts_from_then_on() {
    let soil = Profile { gap_max: 40, ..profile("jxct-soil-npk") };
    let mut poller = poller(vec![device(1, soil)]);
    // Registers 0x07 to 0x11 do not exist, and 0x1F neither: the first lie in a gap, the second is a point.
    let missing = |address: u16| (0x07..=0x11).contains(&address) || address == 0x1F;
    let (mut now, mut asked) = (0, Vec::new());
    let mut samples: Vec<Sample> = Vec::new();
    while now < 4_000 {
        while let Some(command) = poller.poll_command() {
            match command {
                Command::Send(request, _) => {
                    asked.push((now / 1_000, request.address, request.count));
                    let refused = (request.address..request.address + request.count).any(missing);
                    now += 10;
                    poller.handle_answer(
                        match refused {
                            true => Err(Failure::Exception(2)),
                            false => Ok(Answer::Registers(vec![50; request.count.into()])),
                        },
                        now,
                    );
                }
                Command::Samples(some) => samples.extend(some),
                other => panic!("{other:?}"),
            }
        }
        now = poller.poll_timeout().unwrap().max(now);
        poller.handle_timeout(now);
    }
    let at = |second: u64| -> Vec<(u16, u16)> {
        asked.iter().filter(|(at, ..)| *at == second).map(|(_, address, count)| (*address, *count)).collect()
    };
    let parts = [(0x06, 1), (0x12, 2), (0x15, 1), (0x1E, 1), (0x1F, 1), (0x20, 1)];
    let mut first = at(0);
    assert_eq!(first[..2], [(0x06, 27), (0x06, 1)]);
    first.sort_unstable();
    assert!(first.contains(&(0x1E, 3)), "{first:?}");
    for second in [1, 2, 3] {
        let mut found = at(second);
        found.sort_unstable();
        let wanted: Vec<_> = parts.iter().copied().filter(|part| second == 1 || part.0 != 0x1F).collect();
        assert_eq!(found, wanted, "in second {second}; the one that does not exist is left out for a while");
    }
    let bad: Vec<u32> =
        samples.iter().filter(|s| s.quality == Quality::Bad(Cause::Exception)).map(|s| s.point).collect();
    assert_eq!(bad, [105; 4], "the other points have values in every round");
    assert_eq!(samples.len(), 4 * 7);
}

#[test]
fn when_time_is_short_devices_of_higher_priority_keep_their_pace() {
    let devices =
        (1..=4).map(|unit| DevicePlan { priority: u8::from(unit == 3), ..device(unit, profile("xy-md02")) });
    let mut poller = poller(devices.collect());
    let (mut now, mut answered) = (0, [0_u32; 5]);
    while now < 60_000 {
        while let Some(command) = poller.poll_command() {
            if let Command::Send(request, _) = command {
                answered[usize::from(request.unit)] += 1;
                // 400 ms each: four devices a second are too many.
                now += 400;
                poller.handle_answer(Ok(Answer::Registers(vec![1; request.count.into()])), now);
            }
        }
        now = poller.poll_timeout().unwrap().max(now);
        poller.handle_timeout(now);
    }
    assert!(answered[3] >= 58, "{answered:?}");
    assert!(answered[1..].iter().all(|count| *count >= 20), "nobody starves: {answered:?}");
}

#[test]
fn a_measurement_may_be_started_by_a_write() {
    let mut profile = profile("yosemitech-y504");
    profile.pre_read[0].write = Some(vec![1, 2]);
    let address = profile.pre_read[0].address;
    let mut poller = poller(vec![device(1, profile)]);
    let values = Values::Registers(vec![1, 2]);
    let write = WriteRequest { unit: 1, address, values, timeout_ms: 200 };
    assert_eq!(drain(&mut poller), [Command::Write(write, 0)]);
    poller.handle_answer(Ok(Answer::Written), 30);
    poller.handle_timeout(poller.poll_timeout().unwrap());
    assert!(poller.stats().next().unwrap().answers == 1);
}
