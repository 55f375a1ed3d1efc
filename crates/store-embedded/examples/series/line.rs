//! Readings as line protocol, and a small HTTP client for the engines that take it.

use std::fmt::Write;
use std::time::Duration;

use sitian_model::Row;

use super::Outcome;

/// One line a reading, times in milliseconds.
pub fn body(rows: &[Row]) -> String {
    let mut text = String::with_capacity(rows.len() * 40);
    for row in rows {
        let value = row.value.unwrap_or_default();
        // A string takes everything.
        let _ = writeln!(text, "r,p={} v={value} {}", row.point.0, row.at.0);
    }
    text
}

/// A server on this machine.
pub struct Server {
    agent: ureq::Agent,
    base: String,
}

impl Server {
    pub fn new(port: u16) -> Self {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(120))).build().into();
        Self { agent, base: format!("http://127.0.0.1:{port}") }
    }

    pub fn post(&self, path: &str, body: &str) -> Outcome<()> {
        self.agent.post(format!("{}{path}", self.base)).send(body)?;
        Ok(())
    }

    pub fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Outcome<String> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        for (name, value) in parameters {
            request = request.query(name, value);
        }
        Ok(request.call()?.body_mut().with_config().limit(64 << 20).read_to_string()?)
    }

    /// Waits until it answers.
    pub fn wait(&self, path: &str) -> Outcome<()> {
        for _ in 0..300 {
            if self.get(path, &[]).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(format!("{} does not answer", self.base).into())
    }
}
