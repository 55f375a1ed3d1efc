//! Room `settings`: under construction.
