//! Room `poll`: under construction.
