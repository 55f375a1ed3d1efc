//! Single questions to a device, for the commands that people run: one request at a time, never longer than patience lasts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sitian_poll::plan::blocks;
use sitian_poll::{Answer, Ask, DevicePlan, Request, Values, WriteRequest};
use sitian_profile::{Context, Function, PreRead, Profile, ProfilePoint};

/// A read.
pub fn read(unit: u8, function: Function, address: u16, count: u16, timeout_ms: u32) -> Request {
    Request { unit, function, address, count, timeout_ms }
}

/// A command that makes a device measure.
pub fn command(command: &PreRead, device: &DevicePlan) -> Ask {
    let (unit, timeout_ms, address) = (device.unit, device.timeout_ms, command.address);
    match &command.write {
        None => read(unit, command.function, address, command.count, timeout_ms).into(),
        Some(words) => {
            let values = match command.function.is_bits() {
                true => Values::Coils(words.iter().map(|word| *word != 0).collect()),
                false => Values::Registers(words.clone()),
            };
            WriteRequest { unit, address, values, timeout_ms }.into()
        }
    }
}

/// Ends at Ctrl-C and when the time is up.
#[derive(Debug, Clone)]
pub struct Patience {
    over: Arc<AtomicBool>,
    until: Option<Instant>,
}

impl Patience {
    /// From now on, for so many seconds or until Ctrl-C. Call it within the runtime.
    pub fn start(seconds: Option<f64>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                told.store(true, Ordering::Relaxed);
            }
        });
        let until = seconds.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds.clamp(0.0, 1e6)));
        Self { over, until }
    }

    /// True if it is time to end.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// Waits, but not beyond its end.
    pub async fn sleep(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.is_over() {
            let left = until.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(Duration::from_millis(100))).await;
        }
    }
}

/// What the registers of a device said: table, address, content.
#[derive(Debug, Clone, Default)]
pub struct Words(Vec<(Function, u16, u16)>);

impl Words {
    /// Takes an answer.
    pub fn take(&mut self, request: &Request, answer: Answer) -> Vec<u16> {
        let words = answer.words(request).unwrap_or_default();
        self.0.extend(words.iter().zip(request.address..).map(|(word, at)| (request.function, at, *word)));
        words
    }

    /// Takes what others heard.
    pub fn join(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// The newest content of one register.
    pub fn word(&self, function: Function, address: u16) -> Option<u16> {
        self.0.iter().rev().find(|(f, at, _)| *f == function && *at == address).map(|(_, _, word)| *word)
    }

    /// The point's own registers, and what else its value depends on; `None` if it was not read.
    pub fn of(&self, point: &ProfilePoint) -> Option<(Vec<u16>, Context)> {
        let word = |address: u16| self.word(point.function, address);
        let own = (0..point.kind.registers())
            .map(|n| word(point.address.checked_add(n)?))
            .collect::<Option<_>>()?;
        let context = Context {
            unit: point.unit_register.as_ref().and_then(|register| word(register.address)),
            decimals: point.decimals_register.and_then(|register| word(register.address)),
            status: point.status_register.and_then(|register| word(register.address)),
        };
        Some((own, context))
    }
}

/// The requests that read these points.
pub fn requests<'p>(
    unit: u8,
    profile: &Profile,
    points: impl IntoIterator<Item = &'p ProfilePoint>,
    timeout_ms: u32,
) -> Vec<Request> {
    let request =
        |block: sitian_poll::Block| read(unit, block.function, block.address, block.count, timeout_ms);
    blocks(profile, points).into_iter().map(request).collect()
}

/// Words as people compare them with a manual: `00D7 027A`.
pub fn hex(words: &[u16]) -> String {
    words.iter().map(|word| format!("{word:04X}")).collect::<Vec<_>>().join(" ")
}
