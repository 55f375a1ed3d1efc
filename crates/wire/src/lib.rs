//! Room `wire`: under construction.
