//! Room `console`: under construction.
