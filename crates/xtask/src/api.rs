//! Asks a running ingestor by its HTTP API.

use anyhow::{Context, Result};
use serde_json::Value;

/// The API at one address.
pub struct Api {
    listen: String,
}

impl Api {
    /// The API of the ingestor that listens on `listen` (host:port).
    pub fn new(listen: &str) -> Self {
        Self { listen: listen.to_owned() }
    }

    /// The answer to GET `/api/v1/<path>`.
    pub fn get(&self, path: &str) -> Result<Value> {
        let url = format!("http://{}/api/v1/{path}", self.listen);
        let failed = || format!("failed to get {url}");
        let text =
            ureq::get(&url).call().with_context(failed)?.body_mut().read_to_string().with_context(failed)?;
        serde_json::from_str(&text).with_context(failed)
    }
}
