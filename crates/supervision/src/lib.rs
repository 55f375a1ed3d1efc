//! Room `supervision`: under construction.
