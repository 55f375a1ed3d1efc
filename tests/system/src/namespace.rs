//! A network namespace for a gateway: one wire to the field, which stays whole, and one to the centre, which is cut.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// How the wire to the centre is cut. Nobody is told: no reset, no unreachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Packets vanish both ways.
    Both,
    /// What the gateway sends vanishes.
    Up,
    /// What the gateway should hear vanishes.
    Down,
    /// The interface goes down, as a modem does.
    Link,
}

/// The namespace; it vanishes when dropped.
pub struct Namespace {
    name: String,
    /// The centre's address, as seen from inside; one of this machine.
    pub centre: String,
    /// The field's address, as seen from inside; one of this machine.
    pub field: String,
}

/// Inside names of the two wires.
const CENTRE: &str = "centre0";
const FIELD: &str = "field0";

impl Namespace {
    /// Makes it, or says why that does not work here.
    pub fn open() -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (pid, n) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let name = format!("sitian-{pid}-{n}");
        // Two networks of four addresses each, in the range that is set aside for tests of network devices.
        let place = (pid.wrapping_mul(16).wrapping_add(n)) % 8_192;
        let address = |wire: u32, end: u32| {
            let at = place * 8 + wire * 4 + end;
            format!("198.{}.{}.{}", 18 + (at >> 16), at >> 8 & 255, at & 255)
        };
        run("ip", &["netns", "add", &name])?;
        let namespace = Self { centre: address(0, 1), field: address(1, 1), name };
        for (wire, inside) in [(0, CENTRE), (1, FIELD)] {
            let outside = format!("st{}-{n}-{wire}", pid % 1_000_000);
            let ns = namespace.name.as_str();
            run("ip", &["link", "add", &outside, "type", "veth", "peer", "name", inside, "netns", ns])?;
            run("ip", &["addr", "add", &format!("{}/30", address(wire, 1)), "dev", &outside])?;
            run("ip", &["link", "set", &outside, "up"])?;
            let end = format!("{}/30", address(wire, 2));
            namespace.inside(&["ip", "addr", "add", &end, "dev", inside])?;
            namespace.inside(&["ip", "link", "set", inside, "up"])?;
        }
        namespace.nft("list ruleset").map_err(|why| format!("nft does not work here: {why}"))?;
        Ok(namespace)
    }

    /// The command that runs another one inside.
    pub fn under(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    /// Cuts the wire to the centre.
    pub fn cut(&self, cut: Cut) -> Result<(), String> {
        let output =
            format!("chain out {{ type filter hook output priority 0; oifname \"{CENTRE}\" drop; }};");
        let input = format!("chain in {{ type filter hook input priority 0; iifname \"{CENTRE}\" drop; }};");
        match cut {
            Cut::Both => self.nft(&format!("table inet cut {{ {output} {input} }}")),
            Cut::Up => self.nft(&format!("table inet cut {{ {output} }}")),
            Cut::Down => self.nft(&format!("table inet cut {{ {input} }}")),
            Cut::Link => self.inside(&["ip", "link", "set", CENTRE, "down"]),
        }
    }

    /// Makes it whole again.
    pub fn heal(&self, cut: Cut) -> Result<(), String> {
        match cut {
            Cut::Link => self.inside(&["ip", "link", "set", CENTRE, "up"]),
            Cut::Both | Cut::Up | Cut::Down => self.nft("delete table inet cut"),
        }
    }

    fn inside(&self, command: &[&str]) -> Result<(), String> {
        run("ip", &[&["netns", "exec", self.name.as_str()], command].concat())
    }

    fn nft(&self, rules: &str) -> Result<(), String> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "nft", "-f", "-"]).stdin(Stdio::piped());
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.map_err(|e| format!("ip: {e}"))?;
        // A program that does not start reads nothing; it says why at its end.
        let _ = child.stdin.take().map(|mut input| input.write_all(rules.as_bytes()));
        ended("nft", child.wait_with_output())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Its wires vanish with it.
        let _ = run("ip", &["netns", "del", &self.name]);
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    ended(&format!("{program} {}", arguments.join(" ")), Command::new(program).args(arguments).output())
}

fn ended(what: &str, output: std::io::Result<std::process::Output>) -> Result<(), String> {
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{what}: {error}")),
    }
}
