//! As much of MQTT 3.1.1 as a lying broker and a poisoner need, written by hand: an oracle does not lean on the library
//! that it judges.

use std::io::{Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Packet types, as the upper half of the first byte.
pub mod kind {
    /// Client says hello.
    pub const CONNECT: u8 = 1;
    /// Server says hello.
    pub const CONNACK: u8 = 2;
    /// A message.
    pub const PUBLISH: u8 = 3;
    /// A message was taken.
    pub const PUBACK: u8 = 4;
    /// Filters.
    pub const SUBSCRIBE: u8 = 8;
    /// Filters were taken.
    pub const SUBACK: u8 = 9;
    /// Still there?
    pub const PINGREQ: u8 = 12;
    /// Still here.
    pub const PINGRESP: u8 = 13;
    /// Goodbye.
    pub const DISCONNECT: u8 = 14;
}

/// One packet: its first byte, and what follows the length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Type and flags.
    pub first: u8,
    /// Variable header and payload.
    pub body: Vec<u8>,
}

/// A message as it is published.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: Vec<u8>,
}

impl Packet {
    /// Its type, see [`kind`].
    pub fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// A PUBLISH at QoS 0, or at QoS 1 under a packet id.
    pub fn publish(message: &Message, id: Option<u16>) -> Self {
        let mut body = text(&message.topic);
        body.extend(id.iter().flat_map(|id| id.to_be_bytes()));
        body.extend(&message.payload);
        Self { first: kind::PUBLISH << 4 | u8::from(id.is_some()) << 1, body }
    }

    /// The message and packet id of a PUBLISH.
    pub fn message(&self) -> Option<(Message, Option<[u8; 2]>)> {
        let (topic, rest) = take_text(&self.body)?;
        let (id, payload) = match self.first >> 1 & 3 {
            0 => (None, rest),
            _ => rest.split_first_chunk::<2>().map(|(id, rest)| (Some(*id), rest))?,
        };
        Some((Message { topic, payload: payload.to_vec() }, id))
    }

    /// Reads one.
    pub fn read(stream: &mut impl Read) -> Result<Self> {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        let first = byte[0];
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            stream.read_exact(&mut byte)?;
            length |= usize::from(byte[0] & 0x7F) << shift;
            shift += 7;
            if byte[0] < 0x80 || shift > 21 {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        Ok(Self { first, body })
    }

    /// Writes it.
    pub fn write(&self, stream: &mut impl Write) -> Result<()> {
        let mut bytes = vec![self.first];
        let mut length = self.body.len();
        loop {
            let more = length >= 0x80;
            bytes.push((length & 0x7F) as u8 | u8::from(more) << 7);
            length >>= 7;
            if !more {
                break;
            }
        }
        bytes.extend(&self.body);
        stream.write_all(&bytes)
    }
}

/// A text with its length before it.
pub fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

/// The text that the bytes begin with, and the rest.
pub fn take_text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (text, rest) = take_bytes(bytes)?;
    Some((String::from_utf8_lossy(text).into_owned(), rest))
}

/// Bytes with their length before them, and the rest.
pub fn take_bytes(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// Whether a topic is meant by a filter.
pub fn matches(filter: &str, topic: &str) -> bool {
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(there)) if wanted == there => {}
            _ => return false,
        }
    }
}

/// A client that publishes and listens.
pub struct Client {
    stream: TcpStream,
    id: u16,
}

impl Client {
    /// Connects to a broker on a loopback port.
    pub fn connect(port: u16, name: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a listening broker");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout that is not 0");
        let mut client = Self { stream, id: 0 };
        let body = [text("MQTT"), vec![4, 2, 0, 0], text(name)].concat();
        client.ask(&Packet { first: kind::CONNECT << 4, body }, kind::CONNACK);
        client
    }

    /// Publishes at QoS 1 and waits for the PUBACK; what arrives meanwhile is passed over.
    pub fn publish(&mut self, message: &Message) {
        self.id = self.id % u16::MAX + 1;
        self.ask(&Packet::publish(message, Some(self.id)), kind::PUBACK);
    }

    /// Listens to a filter at QoS 0.
    pub fn subscribe(&mut self, filter: &str) {
        let body = [vec![0, 1], text(filter), vec![0]].concat();
        self.ask(&Packet { first: kind::SUBSCRIBE << 4 | 2, body }, kind::SUBACK);
    }

    /// The next message.
    pub fn next_message(&mut self) -> Message {
        loop {
            let packet = Packet::read(&mut self.stream).expect("a broker that goes on");
            if packet.kind() == kind::PUBLISH {
                return packet.message().expect("a well-formed message").0;
            }
        }
    }

    fn ask(&mut self, packet: &Packet, wanted: u8) {
        packet.write(&mut self.stream).expect("a broker that goes on");
        while Packet::read(&mut self.stream).expect("a broker that answers").kind() != wanted {}
    }
}
