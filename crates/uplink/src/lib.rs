//! Room `uplink`: under construction.
