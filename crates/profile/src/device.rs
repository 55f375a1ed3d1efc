//! What a device profile says, once its text has been checked.

use sitian_model::PointKey;

use crate::Decimal;

/// One kind of device: its defaults on the bus and its points.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Name of the profile: 1 to 48 characters from `a-z 0-9 -`; the built-in ones are named like their file.
    pub id: String,
    /// Who makes it.
    pub vendor: String,
    /// The maker's model name.
    pub model: String,
    /// What it is, in Chinese.
    pub name_zh: String,
    /// What it is, in English.
    pub name_en: String,
    /// Where the register map was seen.
    pub source: String,
    /// How far the map has been verified.
    pub verified: Verified,
    /// Serial settings as delivered.
    pub serial: Serial,
    /// Modbus unit id as delivered, 1 to 255.
    pub default_unit: u8,
    /// Most registers that one request may ask for, 1 to 125.
    pub registers_max: u16,
    /// Most unused registers read along so that two points share a request.
    pub gap_max: u16,
    /// Silence the device needs between two requests, in milliseconds; the bus may ask for more.
    pub pause_ms: u32,
    /// Registers that must never be part of a request.
    pub unreadable: Vec<Range>,
    /// Commands that start the measurement before values can be read.
    pub pre_read: Vec<PreRead>,
    /// Commands that end the measurement (light off, wiper parked), for those who read once; polling leaves it running.
    pub post_read: Vec<PreRead>,
    /// How unit id and baud rate are changed, as far as it is known.
    pub setup: Setup,
    /// The points, in the order of the text; keys are unique.
    pub points: Vec<ProfilePoint>,
}

impl Profile {
    /// The point with this key and its position.
    pub fn point(&self, key: &str) -> Option<(usize, &ProfilePoint)> {
        self.points.iter().enumerate().find(|(_, point)| point.key.as_str() == key)
    }
}

/// How far a register map has been verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verified {
    /// A real frame was found and its checksum recomputed (`F`).
    Frame,
    /// Seen in the named source (`V`).
    Source,
    /// From memory (`U`).
    Unverified,
}

impl Verified {
    /// The mark used in profile files: `F`, `V` or `U`.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Frame => "F",
            Self::Source => "V",
            Self::Unverified => "U",
        }
    }
}

/// Serial line settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Serial {
    /// Bits per second.
    pub baud: u32,
    /// Data bits per character, 7 or 8.
    pub data_bits: u8,
    /// Parity.
    pub parity: Parity,
    /// Stop bits, 1 or 2.
    pub stop_bits: u8,
}

/// Parity of a serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parity {
    /// No parity bit.
    None,
    /// Even parity.
    Even,
    /// Odd parity.
    Odd,
}

impl Parity {
    /// `none`, `even` or `odd`.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Even => "even",
            Self::Odd => "odd",
        }
    }
}

/// Which of the four Modbus tables is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Function {
    /// Function code 1.
    Coils,
    /// Function code 2.
    Discrete,
    /// Function code 3.
    Holding,
    /// Function code 4.
    Input,
}

impl Function {
    /// The Modbus function code.
    pub fn code(self) -> u8 {
        match self {
            Self::Coils => 1,
            Self::Discrete => 2,
            Self::Holding => 3,
            Self::Input => 4,
        }
    }

    /// The word used in profile files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Coils => "coils",
            Self::Discrete => "discrete",
            Self::Holding => "holding",
            Self::Input => "input",
        }
    }

    /// True for the tables of single bits.
    pub fn is_bits(self) -> bool {
        matches!(self, Self::Coils | Self::Discrete)
    }
}

/// Addresses of one table, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    /// Which table.
    pub function: Function,
    /// First address.
    pub first: u16,
    /// Last address.
    pub last: u16,
}

/// Registers that change how a device is reached; for the person who commissions it, never written by polling.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Setup {
    /// Holding register of the unit id.
    pub unit_register: Option<u16>,
    /// Holding register of the baud rate.
    pub baud_register: Option<u16>,
    /// Baud rates with the maker's code for each, by rate. Makers disagree, so that there is no default.
    pub baud_codes: Vec<(u32, u16)>,
    /// What else one has to know, such as a power cycle; may be empty.
    pub note: String,
}

/// A command to make the device measure: a read whose answer is of no interest, or a write.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PreRead {
    /// Which table.
    pub function: Function,
    /// Protocol address, 0-based.
    pub address: u16,
    /// Registers asked for; 0 is what some makers use for a command.
    pub count: u16,
    /// If there is something here, it is written (function 16, or 15 to coils) instead of reading. An empty list is a
    /// write of no registers, which some makers use for a command.
    pub write: Option<Vec<u16>>,
    /// How long the device needs afterwards, in milliseconds.
    pub delay_ms: u32,
    /// Repeated after this many milliseconds; 0: only at the start and after the device was silent.
    pub every_ms: u32,
}

/// How the registers of a point are read as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One register, unsigned.
    U16,
    /// One register, two's complement.
    S16,
    /// Two registers, unsigned.
    U32,
    /// Two registers, two's complement.
    S32,
    /// Four registers, unsigned.
    U64,
    /// Four registers, two's complement.
    S64,
    /// Two registers, IEEE 754.
    F32,
    /// Four registers, IEEE 754.
    F64,
    /// The bits of one register selected by the mask, moved to the right end.
    Bits(u16),
}

impl Kind {
    /// The words used in profile files; `bits` stands for any mask.
    pub(crate) const WORDS: [(&str, Self); 9] = [
        ("u16", Self::U16),
        ("s16", Self::S16),
        ("u32", Self::U32),
        ("s32", Self::S32),
        ("u64", Self::U64),
        ("s64", Self::S64),
        ("f32", Self::F32),
        ("f64", Self::F64),
        ("bits", Self::Bits(u16::MAX)),
    ];

    /// The word used in profile files.
    pub fn word(self) -> &'static str {
        let same = |other: &Self| std::mem::discriminant(other) == std::mem::discriminant(&self);
        Self::WORDS.iter().find(|(_, kind)| same(kind)).map_or("", |(word, _)| word)
    }

    /// The number with this word; a mask cannot be said so.
    pub fn number(word: &str) -> Option<Self> {
        let found = Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind);
        found.filter(|kind| !matches!(kind, Self::Bits(_)))
    }

    /// Registers taken: 1, 2 or 4.
    pub fn registers(self) -> u16 {
        match self {
            Self::U16 | Self::S16 | Self::Bits(_) => 1,
            Self::U32 | Self::S32 | Self::F32 => 2,
            Self::U64 | Self::S64 | Self::F64 => 4,
        }
    }

    /// True if the registers hold a floating point number.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// True for two's complement integers.
    pub fn is_signed(self) -> bool {
        matches!(self, Self::S16 | Self::S32 | Self::S64)
    }
}

/// In which order the bytes of a number travel; A is the most significant byte of a 32-bit number. For 64-bit numbers
/// the same two choices (word order, byte order) apply to four registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// High word first, high byte first (64-bit: `ABCDEFGH`).
    #[default]
    Abcd,
    /// Low word first, high byte first (64-bit: `GHEFCDAB`).
    Cdab,
    /// High word first, low byte first (64-bit: `BADCFEHG`).
    Badc,
    /// Low word first, low byte first (64-bit: `HGFEDCBA`).
    Dcba,
}

impl Order {
    /// The words used in profile files.
    pub(crate) const WORDS: [(&str, Self); 4] =
        [("ABCD", Self::Abcd), ("CDAB", Self::Cdab), ("BADC", Self::Badc), ("DCBA", Self::Dcba)];

    /// The word used in profile files.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, order)| *order == self).map_or("", |(word, _)| word)
    }

    /// The order with this word.
    pub fn of(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, order)| *order)
    }
}

/// A register that says in which unit the point's value is given.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitRegister {
    /// Protocol address in the point's table.
    pub address: u16,
    /// The device's code for a unit, and what one such unit is in the point's unit.
    pub codes: Vec<(u16, Decimal)>,
}

/// A register that says how many decimals the raw value has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DecimalsRegister {
    /// Protocol address in the point's table.
    pub address: u16,
    /// Largest number of decimals that makes sense, at most 9.
    pub max: u8,
}

/// A register whose bits speak about the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusRegister {
    /// Protocol address in the point's table.
    pub address: u16,
    /// Any of these bits: there is no value.
    pub bad: u16,
    /// Any of these bits: the value is kept, but uncertain.
    pub uncertain: u16,
}

/// The device counts up for ever: it wraps, and it can be reset. See [`crate::counter`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counter {
    /// Raw counts after which it begins at 0 again; `None`: it does not wrap within a lifetime.
    pub wrap: Option<u64>,
    /// Largest increase within an hour that is believed, in the point's unit.
    pub hourly_max: f64,
}

/// What may be written to a point, and what is safe.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Lowest value that may be written, in the point's unit.
    pub min: f64,
    /// Highest value that may be written.
    pub max: f64,
    /// The value that does no harm: restored when its time is up, and when link or process die.
    pub safe: f64,
    /// The value may differ from `safe` for at most this many seconds; 0: for ever.
    pub on_max_s: u32,
    /// True: function 15 or 16 also for one coil or register. False: 5 or 6 where they suffice.
    pub multiple: bool,
    /// Milliseconds after which reading back tells the new state.
    pub settle_ms: u32,
    /// Key of the point that tells the state; `None`: the written point itself.
    pub read_back: Option<PointKey>,
    /// The state read back may differ by this much, in its unit.
    pub tolerance: f64,
}

/// One quantity of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfilePoint {
    /// Unique in the profile.
    pub key: PointKey,
    /// Name of the measurement in the catalogue.
    pub measurement: String,
    /// Unit symbol; always the catalogue's.
    pub unit: String,
    /// Which table.
    pub function: Function,
    /// Protocol address of the first register, 0-based.
    pub address: u16,
    /// How the registers are read.
    pub kind: Kind,
    /// Byte order of numbers longer than one register.
    pub order: Order,
    /// The raw number times this, plus `offset`, is the value.
    pub scale: Decimal,
    /// Added after scaling, in the point's unit.
    pub offset: Decimal,
    /// Digits after the decimal point worth showing.
    pub decimals: u8,
    /// Lowest plausible value.
    pub min: f64,
    /// Highest plausible value.
    pub max: f64,
    /// Where the unit is read from, if the device decides.
    pub unit_register: Option<UnitRegister>,
    /// Where the number of decimals is read from, if the device decides.
    pub decimals_register: Option<DecimalsRegister>,
    /// Where the device says how far the value may be trusted.
    pub status_register: Option<StatusRegister>,
    /// The value is a count that wraps and can be reset.
    pub counter: Option<Counter>,
    /// What may be written here; `None`: nothing.
    pub write: Option<Write>,
    /// Raw values that mean "no value": equal to the number, or to its bit pattern.
    pub missing: Vec<i128>,
    /// The channel is not fitted on every device: it is polled only where the device's configuration lists it.
    pub optional: bool,
}
