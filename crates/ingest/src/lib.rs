//! Room `ingest`: under construction.
