//! Room `alert`: under construction.
