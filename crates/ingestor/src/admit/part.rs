//! One admission is for all gateways, or for those of a slot.

use sitian_model::{GatewayId, Slot};

/// The gateways that one admission is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// All there are.
    All,
    /// Those of one slot; others are somebody else's.
    Slot(Slot),
}

impl Part {
    /// True if a gateway belongs to it.
    pub fn has(self, gateway: &GatewayId) -> bool {
        match self {
            Self::All => true,
            Self::Slot(slot) => Slot::of(gateway) == slot,
        }
    }
}
