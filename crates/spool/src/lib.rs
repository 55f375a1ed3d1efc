//! Room `spool`: under construction.
