//! The wire between gateway and centre is cut in a network namespace, without a reset and without a word: polling goes
//! on, and after healing everything is there once.

use std::time::{Duration, Instant};

use sitian_tests_system::counted::Layout;
use sitian_tests_system::namespace::{Cut, Namespace};
use sitian_tests_system::tally::{Fault, Harm, night};
use sitian_tests_system::{Counted, Mosquitto, wait_for};

const DOWN: &str = "link to the broker is down";

/// One way to cut, and how often and for how long.
struct Row {
    fault: Fault,
    cut: Cut,
    keep_alive_s: u32,
    cuts: usize,
    cut_s: usize,
    whole_s: usize,
}

const fn fault(number: &'static str, title: &'static str, injected: &'static str) -> Fault {
    Fault { number, title, injected }
}

fn rows() -> Vec<Row> {
    let long_s = if night() { 600 } else { 30 };
    let many = if night() { 60 } else { 6 };
    let drop = "network namespace, nftables drop";
    let row = |fault, cut, keep_alive_s, cuts, cut_s, whole_s| Row {
        fault,
        cut,
        keep_alive_s,
        cuts,
        cut_s,
        whole_s,
    };
    vec![
        row(fault("F14", "partition both ways", drop), Cut::Both, 5, 1, long_s, 0),
        row(fault("F14", "partition, only upwards", drop), Cut::Up, 5, 1, long_s, 0),
        row(fault("F14", "partition, only downwards", drop), Cut::Down, 5, 1, long_s, 0),
        row(fault("F14", "interface down", "network namespace, ip link"), Cut::Link, 5, 1, long_s, 0),
        row(fault("F14", "flapping every 3 s", drop), Cut::Both, 5, many, 3, 3),
        row(
            fault("F15", "silent half-open link", "nftables drop both ways, no reset"),
            Cut::Both,
            20,
            1,
            0,
            0,
        ),
    ]
}

/// The small network with its gateway in a namespace.
struct Network {
    small: Counted,
    _broker: Mosquitto,
    namespace: Namespace,
    _folder: tempfile::TempDir,
}

impl Network {
    fn start(namespace: Namespace, keep_alive_s: u32) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let broker = Mosquitto::start_at(folder.path(), &["127.0.0.1", &namespace.centre]);
        let small = Counted::start(&Layout {
            broker: Some(broker.port),
            pipe: Some((&namespace.centre, broker.port)),
            field: &namespace.field,
            keep_alive_s,
            gateway_under: &namespace.under(),
            ..Layout::default()
        });
        Self { small, _broker: broker, namespace, _folder: folder }
    }

    fn times_down(&self) -> usize {
        self.small.gateway.program.output().matches(DOWN).count()
    }
}

/// Cuts as the row says. Gives the time until the loss was noticed, if it was, and from healing to the first reading.
fn suffer(network: &mut Network, row: &Row) -> Result<(Option<Duration>, Duration), String> {
    let (mut noticed, mut back) = (None, Duration::ZERO);
    for _ in 0..row.cuts {
        let downs = network.times_down();
        let began = Instant::now();
        network.namespace.cut(row.cut)?;
        if row.cut_s == 0 {
            wait_for("the gateway noticing the loss", 120, || (network.times_down() > downs).then_some(()));
            noticed = Some(began.elapsed());
        } else {
            network.small.poll_for(row.cut_s);
        }
        let stored = network.small.stored();
        let healed = Instant::now();
        network.namespace.heal(row.cut)?;
        if row.whole_s > 0 {
            network.small.poll_for(row.whole_s);
        } else {
            wait_for("a reading after healing", 120, || (network.small.stored() > stored).then_some(()));
            back = back.max(healed.elapsed());
        }
    }
    Ok((noticed, back))
}

fn check(row: &Row) -> Harm {
    let namespace = match Namespace::open() {
        Ok(namespace) => namespace,
        Err(why) => {
            row.fault.skipped(why);
            return Harm::default();
        }
    };
    let mut network = Network::start(namespace, row.keep_alive_s);
    let (noticed, back) = suffer(&mut network, row).expect("a cut and a healing");
    let verdict = network.small.judge().wait_for_all(120);
    let mut note = format!("{} readings", verdict.readings);
    if let Some(noticed) = noticed {
        note +=
            &format!(", noticed after {:.0} s (keep-alive {} s)", noticed.as_secs_f64(), row.keep_alive_s);
    }
    if back > Duration::ZERO {
        note += &format!(", first reading {:.1} s after healing", back.as_secs_f64());
    }
    let lasted = if row.cut_s > 0 { format!(" of {} s", row.cut_s) } else { String::new() };
    row.fault.came_to(
        format!("{} cut{}{lasted}", row.cuts, if row.cuts == 1 { "" } else { "s" }),
        verdict.harm,
        note,
    );
    verdict.harm
}

#[test]
fn a_partition_of_any_kind_costs_nothing() {
    // Each row has a network of its own, and mostly waits.
    std::thread::scope(|scope| {
        let rows: Vec<_> =
            rows().into_iter().map(|row| scope.spawn(move || (check(&row), row.fault.title))).collect();
        for (harm, title) in rows.into_iter().map(|row| row.join().expect("a verdict")) {
            assert_eq!(harm, Harm::default(), "{title}");
        }
    });
}
