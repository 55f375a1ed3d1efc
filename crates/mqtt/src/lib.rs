//! Room `mqtt`: under construction.
