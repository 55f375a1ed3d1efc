//! A plain HTTP/1.1 client: what is sent is what is written here, byte by byte.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// One answer.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub async fn get(server: SocketAddr, target: &str) -> Answer {
    send(server, "GET", target, &[], b"").await
}

pub async fn send(
    server: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let (head, mut reader) = open(server, method, target, headers, body).await;
    let (status, headers) = head;
    let mut answer = Answer { status, headers, body: Vec::new() };
    if answer.header("transfer-encoding") == Some("chunked") {
        while let Some(chunk) = chunk(&mut reader).await {
            answer.body.extend(chunk);
        }
    } else {
        reader.read_to_end(&mut answer.body).await.unwrap();
    }
    answer
}

/// Asks, waits for the head of the answer and hangs up.
pub async fn leave_after_head(server: SocketAddr, target: &str) {
    let (head, reader) = open(server, "GET", target, &[], b"").await;
    assert_eq!(head.0, 200, "{target}");
    drop(reader);
}

/// Asks, waits until the server is at it, and hangs up without an answer.
pub async fn leave_before_answer(server: SocketAddr, target: &str, at_it: impl Fn() -> bool) {
    let mut socket = TcpStream::connect(server).await.unwrap();
    socket.write_all(format!("GET {target} HTTP/1.1\r\nHost: {server}\r\n\r\n").as_bytes()).await.unwrap();
    while !at_it() {
        tokio::task::yield_now().await;
    }
    drop(socket);
}

/// A stream of server-sent events.
pub struct Events {
    reader: BufReader<TcpStream>,
    text: String,
    pub headers: Vec<(String, String)>,
}

/// One block of a stream: an event or a comment.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    pub event: String,
    pub id: Option<u64>,
    pub data: Value,
    pub comment: bool,
}

impl Events {
    pub async fn open(server: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Self {
        let (head, reader) = open(server, "GET", target, headers, b"").await;
        assert_eq!(head.0, 200, "{target}");
        Self { reader, text: String::new(), headers: head.1 }
    }

    /// The next block, or `None` when the stream has ended cleanly.
    pub async fn block(&mut self) -> Option<Block> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(parse(&block));
            }
            self.text.push_str(std::str::from_utf8(&chunk(&mut self.reader).await?).unwrap());
        }
    }

    /// The next event; comments are skipped.
    pub async fn event(&mut self) -> Option<Block> {
        loop {
            match self.block().await {
                Some(block) if block.comment => (),
                other => return other,
            }
        }
    }

    /// The next event of this name.
    pub async fn named(&mut self, name: &str) -> Block {
        loop {
            let block = self.event().await.expect("the stream goes on");
            if block.event == name {
                return block;
            }
        }
    }
}

fn parse(text: &str) -> Block {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(|v| v.trim_start_matches(':').trim().to_owned())
    };
    Block {
        event: field("event").unwrap_or_default(),
        id: field("id").map(|id| id.parse().unwrap()),
        data: field("data").map_or(Value::Null, |data| serde_json::from_str(&data).unwrap()),
        comment: text.lines().all(|line| line.starts_with(':')),
    }
}

async fn open(
    server: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> ((u16, Vec<(String, String)>), BufReader<TcpStream>) {
    let mut socket = TcpStream::connect(server).await.unwrap();
    let mut head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        head.push_str(&format!("Host: {server}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    socket.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    // A server may refuse before it has read everything.
    let _ = socket.write_all(body).await;
    let mut reader = BufReader::new(socket);
    let status = line(&mut reader).await.split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = Vec::new();
    loop {
        let line = line(&mut reader).await;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    ((status, headers), reader)
}

async fn line(reader: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).await.unwrap();
    line.trim_end().to_owned()
}

async fn chunk(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let size = usize::from_str_radix(&line(reader).await, 16).ok()?;
    let mut data = vec![0; size + 2];
    reader.read_exact(&mut data).await.unwrap();
    data.truncate(size);
    (size > 0).then_some(data)
}
