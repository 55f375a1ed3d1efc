//! Room `series`: under construction.
