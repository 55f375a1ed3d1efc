//! Room `store-embedded`: under construction.
