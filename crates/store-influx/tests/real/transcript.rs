//! A recorded conversation: what has to be said, in this order, and what is answered. Lines that begin with `>` were said
//! by us, lines that begin with `<` by the server, first the request or status, then headers, an empty line and the body;
//! everything else explains.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use super::scripted::{Heard, Scripted};

struct Exchange {
    said: Vec<String>,
    status: &'static str,
    headers: &'static str,
    body: String,
}

pub struct Transcript {
    exchanges: Arc<Mutex<Vec<Exchange>>>,
    /// What was said otherwise than recorded.
    amiss: Arc<Mutex<Vec<String>>>,
}

/// Lives as long as the test.
fn forever(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

impl Transcript {
    pub fn read(text: &str) -> Self {
        let parts = text.lines().filter_map(|line| {
            let (who, line) = (line.chars().next()?, line.get(1..)?);
            "><".contains(who).then(|| (who, line.strip_prefix(' ').unwrap_or(line).to_owned()))
        });
        let parts: Vec<(char, String)> = parts.collect();
        let mut exchanges = Vec::new();
        let mut turns = parts.chunk_by(|a, b| a.0 == b.0);
        while let (Some(said), Some(heard)) = (turns.next(), turns.next()) {
            let said = said.iter().map(|(_, line)| line.clone()).collect();
            let mut heard = heard.iter().map(|(_, line)| line.clone());
            let status = forever(heard.next().expect("a status"));
            let headers: String =
                heard.by_ref().take_while(|line| !line.is_empty()).map(|line| line + "\r\n").collect();
            let body = heard.map(|line| line + "\r\n").collect();
            exchanges.push(Exchange { said, status, headers: forever(headers), body });
        }
        exchanges.reverse();
        Self { exchanges: Arc::new(Mutex::new(exchanges)), amiss: Arc::default() }
    }

    pub fn serve(&self) -> Scripted {
        let (exchanges, amiss) = (Arc::clone(&self.exchanges), Arc::clone(&self.amiss));
        Scripted::start(move |heard| {
            let found = lines(heard);
            let Some(next) = exchanges.lock().expect("nobody panicked").pop() else {
                amiss.lock().expect("nobody panicked").push(format!("nothing more is recorded: {found:#?}"));
                return ("500 Internal Server Error", "", String::new());
            };
            if found != next.said {
                let told = format!("recorded: {:#?}\nsaid: {found:#?}", next.said);
                amiss.lock().expect("nobody panicked").push(told);
            }
            (next.status, next.headers, next.body)
        })
    }

    /// Everything was said as recorded, and nothing is left.
    pub fn end(&self) {
        let amiss = self.amiss.lock().expect("nobody panicked");
        assert!(amiss.is_empty(), "{}", amiss.join("\n\n"));
        assert_eq!(self.exchanges.lock().expect("nobody panicked").len(), 0, "all of it was said");
    }
}

/// A request as it is recorded: only headers that mean something, the token hidden.
fn lines(heard: &Heard) -> Vec<String> {
    let mut lines = vec![heard.request.clone()];
    for name in ["authorization", "content-type", "content-encoding"] {
        let of = |line: &&String| line.to_ascii_lowercase().starts_with(name);
        lines.extend(heard.headers.iter().filter(of).map(|line| match line.split_once(": Token ") {
            Some((_, "secret")) => format!("{name}: Token …"),
            _ => format!("{name}:{}", line[name.len() + 1..].to_ascii_lowercase()),
        }));
    }
    if !heard.body.is_empty() {
        lines.push(String::new());
        lines.extend(heard.body.lines().map(timeless));
    }
    lines
}

/// Moments that go with the clock are not recorded.
fn timeless(line: &str) -> String {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    let mut parts = line.split("time(v: ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (number, rest) = part.split_once(')').expect("a closed call");
        let ms = number.parse::<i64>().expect("nanoseconds") / 1_000_000;
        let lately = (now_ms - ms).abs() < 100 * 86_400_000;
        out += &format!("time(v: {}){rest}", if lately { "…" } else { number });
    }
    out
}
