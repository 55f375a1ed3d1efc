//! Joins the packets of split messages. Bounded: few messages at a time, few packets each.

use super::Message;

/// Split messages under way at a time; the oldest is given up for a new one.
const MESSAGES_MAX: usize = 16;
/// Packets of one message.
const PACKETS_MAX: usize = 64;

#[derive(Debug, Clone)]
struct Partial {
    mn: String,
    cn: u16,
    qn: Option<String>,
    bodies: Vec<Option<String>>,
}

/// Packets that wait for the others of their message.
#[derive(Debug, Clone, Default)]
pub struct Packets {
    partial: Vec<Partial>,
}

impl Packets {
    /// Takes a message; returns the body when it is whole. Packets of one message share station and command, and either
    /// the request number or the fact that each fills a place that is still empty.
    pub fn join(&mut self, message: &Message) -> Option<String> {
        let Some((count, number)) = message.packet else { return Some(message.body.clone()) };
        if count > PACKETS_MAX || number == 0 || number > count {
            return None;
        }
        let fits = |partial: &Partial| {
            let same = partial.mn == message.mn && partial.cn == message.cn && partial.bodies.len() == count;
            same && (partial.qn == message.qn || partial.bodies[number - 1].is_none())
        };
        let at = self.partial.iter().position(fits).unwrap_or_else(|| {
            // A station sends one message of a kind at a time: an older one will never be completed.
            self.partial.retain(|partial| partial.mn != message.mn || partial.cn != message.cn);
            if self.partial.len() >= MESSAGES_MAX {
                self.partial.remove(0);
            }
            let (mn, qn) = (message.mn.clone(), message.qn.clone());
            self.partial.push(Partial { mn, cn: message.cn, qn, bodies: vec![None; count] });
            self.partial.len() - 1
        });
        let partial = &mut self.partial[at];
        partial.bodies[number - 1] = Some(message.body.clone());
        partial.qn.clone_from(&message.qn);
        if partial.bodies.iter().any(Option::is_none) {
            return None;
        }
        let whole = self.partial.remove(at);
        Some(whole.bodies.iter().flatten().fold(String::new(), |joined, body| append(joined, body)))
    }
}

/// A message is cut anywhere, or between two factors without the separator.
fn append(mut joined: String, body: &str) -> String {
    let open = joined.is_empty() || joined.ends_with([';', ',', '=', '-']);
    if !open && (body.starts_with("DataTime=") || begins_with_factor(body)) {
        joined.push(';');
    }
    joined.push_str(body);
    joined
}

/// True for a text like `a34004-Rtd=…`.
fn begins_with_factor(body: &str) -> bool {
    let Some((factor, rest)) = body.split_once('-') else { return false };
    let code = matches!(factor.as_bytes(), [b'a'..=b'z', digits @ ..] if digits.len() == 5 && digits.iter().all(u8::is_ascii_digit));
    code && rest.contains('=')
}
