//! What survives a restart. The owner of the store keeps these in the same transaction as the rows that caused them,
//! and hands all of them back at the next start; it need not understand them.

use sitian_model::{GatewayId, PointNo, Timestamp};

pub(crate) mod text;

/// One keyed piece of the engine's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedState {
    /// Unique; at most 200 bytes of ASCII.
    pub key: String,
    /// Text to keep under the key; `None`: forget the key.
    pub body: Option<String>,
}

/// What a piece of memory is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A point.
    Point(PointNo),
    /// A gateway.
    Gateway(GatewayId),
}

impl SavedState {
    /// What it is about, as its key says; `None` for what is the engine's alone, and for keys of other programs.
    pub fn about(&self) -> Option<About> {
        let parts: Vec<&str> = self.key.split('/').collect();
        match parts.as_slice() {
            ["lane", _, _, point] | ["silence", "point", _, point] => {
                Some(About::Point(PointNo(point.parse().ok()?)))
            }
            ["silence", "gateway", _, id] | ["gateway", id] => Some(About::Gateway(GatewayId::new(id).ok()?)),
            _ => None,
        }
    }
}

/// How far one point has come in event time. A store that knows the newest row of every point may leave these out of
/// its transactions and rebuild them from the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Which point.
    pub point: PointNo,
    /// Newest sample time seen, of any quality but with a trusted clock.
    pub newest_at: Option<Timestamp>,
    /// Newest sign of life: the newest sample time of a reading with a value.
    pub data_at: Option<Timestamp>,
}

/// What has changed since the engine was last asked: to be stored together with the rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delta {
    /// Pieces to put or to forget, each key at most once.
    pub states: Vec<SavedState>,
    /// Marks that moved, each point at most once.
    pub marks: Vec<Mark>,
}

impl Delta {
    /// True if there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty() && self.marks.is_empty()
    }
}
