//! What the last hour promises and holds.
