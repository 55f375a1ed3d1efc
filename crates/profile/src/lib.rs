//! Room `profile`: under construction.
