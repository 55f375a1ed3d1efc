//! Room `fieldbus`: under construction.
