//! Somebody between us and a VictoriaMetrics, who passes everything on and notes how long the answers are.

use std::sync::{Arc, Mutex};

use super::running::Running;
use super::scripted::{Heard, Said, Scripted};

pub struct Between {
    pub scripted: Scripted,
    /// Path and length of every answer.
    answers: Arc<Mutex<Vec<(String, usize)>>>,
}

impl Between {
    /// `change` may make something else of an answer.
    pub fn start(running: &Running, mut change: impl FnMut(&Heard, Said) -> Said + Send + 'static) -> Self {
        let (url, answers) = (running.url(), Arc::<Mutex<Vec<_>>>::default());
        let notes = Arc::clone(&answers);
        let scripted = Scripted::start(move |heard| {
            let said = change(heard, pass(&url, heard));
            let path = heard.request.split([' ', '?']).nth(1).unwrap_or_default().to_owned();
            notes.lock().expect("nobody panicked").push((path, said.2.len()));
            said
        });
        Self { scripted, answers }
    }

    /// Lengths of the answers of a path since the last time.
    pub fn lengths(&self, path: &str) -> Vec<usize> {
        let mut answers = self.answers.lock().expect("nobody panicked");
        answers.drain(..).filter(|(asked, _)| asked == path).map(|(_, bytes)| bytes).collect()
    }
}

fn pass(url: &str, heard: &Heard) -> Said {
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let agent: ureq::Agent = config.into();
    let (method, path) = heard.request.split_once(' ').expect("a request");
    let at = format!("{url}{path}");
    let kind = heard.headers.iter().find_map(|header| header.strip_prefix("content-type: "));
    let answer = match method {
        "GET" => agent.get(at).call(),
        _ => agent.post(at).header("Content-Type", kind.unwrap_or("text/plain")).send(heard.body.as_bytes()),
    };
    let mut answer = answer.expect("answers");
    let status = format!("{} said", answer.status().as_u16());
    let text = answer.body_mut().with_config().limit(1 << 30).read_to_string().expect("reads");
    (Box::leak(status.into_boxed_str()), "", text)
}
