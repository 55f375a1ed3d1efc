//! What a segment says: the head, the pairs, and the answer that it asks for.

use sitian_model::{Cause, Timestamp};

use super::calendar::moment;
use crate::Field;

/// Pairs that one message may have; more are no station's.
const PAIRS_MAX: usize = 2_000;
const WANTS_ACK: u8 = 1;
const IS_SPLIT: u8 = 2;

/// Why a segment is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MessageFault {
    /// `CN` or `MN` or `CP` is missing or no number.
    #[error("{0} is missing or malformed")]
    Head(&'static str),
}

/// The head of a message and its body as text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// Request number; stations of 2005 send none.
    pub qn: Option<String>,
    /// System code, such as 22 for air quality.
    pub st: String,
    /// Command, such as 2011 for real-time data.
    pub cn: u16,
    /// Password.
    pub pw: String,
    /// The station.
    pub mn: String,
    /// Version and wishes; stations of 2005 send none.
    pub flag: Option<u8>,
    /// Of a split message: how many packets there are, and which one this is (from 1).
    pub packet: Option<(usize, usize)>,
    /// True if the data were kept back and are sent belatedly.
    pub belated: bool,
    /// What stands between `CP=&&` and `&&`.
    pub body: String,
}

impl Message {
    /// Reads a segment.
    pub fn parse(segment: &str) -> Result<Self, MessageFault> {
        let (head, body) = segment.split_once("CP=&&").ok_or(MessageFault::Head("CP"))?;
        let mut message =
            Self { body: body.strip_suffix("&&").unwrap_or(body).to_owned(), ..Self::default() };
        let (mut pnum, mut pno, mut cn) = (None, None, None);
        for (key, value) in head.split(';').filter_map(|pair| pair.split_once('=')) {
            let value = value.trim();
            match key.trim().to_ascii_uppercase().as_str() {
                "QN" => message.qn = Some(value.to_owned()),
                "ST" => value.clone_into(&mut message.st),
                "CN" => cn = value.parse().ok(),
                "PW" => value.clone_into(&mut message.pw),
                "MN" => value.clone_into(&mut message.mn),
                "FLAG" => message.flag = value.parse().ok(),
                "PNUM" => pnum = value.parse().ok(),
                "PNO" => pno = value.parse().ok(),
                "RF" => message.belated = value == "1",
                _ => {}
            }
        }
        message.cn = cn.ok_or(MessageFault::Head("CN"))?;
        if message.mn.is_empty() {
            return Err(MessageFault::Head("MN"));
        }
        let split = message.flag.is_some_and(|flag| flag & IS_SPLIT != 0);
        message.packet = pnum.zip(pno).filter(|(pnum, _)| split && *pnum > 1);
        Ok(message)
    }

    /// Edition of the standard: 0 for 2005, 1 for 2017, 2 for 2025.
    pub fn version(&self) -> u8 {
        self.flag.unwrap_or(0) >> 2
    }

    /// True for commands that carry readings: real-time, minute, hour and day data and their kin.
    pub fn carries_data(&self) -> bool {
        (2_000..4_000).contains(&self.cn)
    }

    /// The segment of the acknowledgement, if the station wants one: 9014 for data, 9013 for anything else. It repeats the
    /// request number, so a message without one cannot be acknowledged.
    pub fn acknowledgement(&self) -> Option<String> {
        let flag = self.flag.filter(|flag| flag & WANTS_ACK != 0)?;
        let qn = self.qn.as_ref()?;
        let cn = if self.carries_data() { 9014 } else { 9013 };
        let version = flag & !(WANTS_ACK | IS_SPLIT);
        Some(format!("QN={qn};ST=91;CN={cn};PW={};MN={};Flag={version};CP=&&&&", self.pw, self.mn))
    }
}

/// The pairs of a whole body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// `DataTime`, as text.
    pub data_time: Option<String>,
    /// The numbers, in the order of the text, each once.
    pub fields: Vec<Field>,
}

impl Content {
    /// Reads the body of a message. Commas and semicolons both separate: stations mix them.
    pub fn parse(body: &str) -> Self {
        let mut content = Self::default();
        let mut flags: Vec<(&str, &str)> = Vec::new();
        let mut values: Vec<(&str, &str)> = Vec::new();
        for pair in body.split([';', ',']).take(PAIRS_MAX) {
            let Some((key, value)) = pair.split_once('=') else { continue };
            let (key, value) = (key.trim(), value.trim());
            match key.rsplit_once('-') {
                Some((factor, "Flag")) => flags.push((factor, value)),
                Some((_, "SampleTime" | "EFlag" | "Info" | "SN")) => {}
                Some((factor, quantity)) if !factor.is_empty() && !quantity.is_empty() => {
                    values.push((key, value));
                }
                _ if key.eq_ignore_ascii_case("DataTime") => content.data_time = Some(value.to_owned()),
                _ => {}
            }
        }
        flags.reverse();
        for (key, value) in values {
            let factor = key.rsplit_once('-').map_or(key, |(factor, _)| factor);
            let flag = flags.iter().find(|(of, _)| *of == factor).map_or("N", |(_, flag)| *flag);
            let mut field = Field::of_text(key, value);
            field.cause = field.cause.or(doubt(flag));
            content.fields.push(field);
        }
        content
    }

    /// When the readings were taken, in a station's time zone given in minutes east of UTC.
    pub fn at(&self, offset_min: i32) -> Option<Timestamp> {
        moment(self.data_time.as_deref()?, offset_min)
    }
}

/// What a data flag says against a value: nothing if it is N. Over range (T) is implausible; stopped (F), maintenance (M),
/// manual (S), fault (D), calibration (C), communication error (B) and anything unknown is the device's own doubt.
fn doubt(flag: &str) -> Option<Cause> {
    match flag {
        "N" | "n" | "" => None,
        "T" | "t" => Some(Cause::Implausible),
        _ => Some(Cause::DeviceStatus),
    }
}
