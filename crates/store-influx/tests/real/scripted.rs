//! A server that says what it is told to say, and keeps what it hears.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use flate2::read::GzDecoder;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Method and path with its parameters.
    pub request: String,
    /// Header lines.
    pub headers: Vec<String>,
    /// Unpacked.
    pub body: String,
}

/// What an InfluxDB 2 says of its health.
pub const HEALTH: &str = r#"{"name":"influxdb", "message":"ready for queries and writes", "status":"pass", "checks":[], "version": "v2.7.12", "commit": "ec9dcde5d6"}"#;

/// A list of one bucket, kept for ever.
pub const BUCKETS: &str = r#"{"links":{"self":"/api/v2/buckets"},"buckets":[{"id":"0a","orgID":"0b","type":"user","name":"soil","retentionRules":[{"type":"expire","everySeconds":0,"shardGroupDurationSeconds":604800}]}]}"#;

/// What it says to a request: status line, more header lines, body.
pub type Said = (&'static str, &'static str, String);

/// Answers every request with what `say` makes of it.
pub struct Scripted {
    pub url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Scripted {
    pub fn start(say: impl FnMut(&Heard) -> Said + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let (notes, say) = (Arc::clone(&heard), Arc::new(Mutex::new(say)));
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (notes, say) = (Arc::clone(&notes), Arc::clone(&say));
                std::thread::spawn(move || serve(&stream, &notes, &*say));
            }
        });
        Self { url, heard }
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("nobody panicked").clone()
    }
}

fn serve(stream: &TcpStream, notes: &Mutex<Vec<Heard>>, say: &Mutex<impl FnMut(&Heard) -> Said>) {
    let mut reader = BufReader::new(stream);
    while let Some(heard) = hear(&mut reader) {
        let (status, more, body) = (say.lock().expect("nobody panicked"))(&heard);
        notes.lock().expect("nobody panicked").push(heard);
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\n\r\n{body}");
        if (&mut &*stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn hear(reader: &mut BufReader<&TcpStream>) -> Option<Heard> {
    let mut line = || {
        let mut line = String::new();
        let length = reader.read_line(&mut line).ok()?;
        (length > 0).then(|| line.trim_end().to_owned())
    };
    let request = line()?.trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<String> = std::iter::from_fn(|| line().filter(|line| !line.is_empty())).collect();
    let header = |name: &str| {
        let found = headers.iter().find(|line| line.to_ascii_lowercase().starts_with(name));
        found.map(|line| line[name.len()..].trim().to_owned())
    };
    let length = header("content-length:").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let packed = header("content-encoding:").is_some_and(|text| text == "gzip");
    let mut text = String::new();
    if packed {
        GzDecoder::new(&body[..]).read_to_string(&mut text).ok()?;
    } else {
        text = String::from_utf8(body).ok()?;
    }
    Some(Heard { request, headers, body: text })
}
