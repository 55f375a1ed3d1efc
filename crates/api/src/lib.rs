//! Room `api`: under construction.
