//! The HTTP API of the ingestor and its live streams; the only room that speaks JSON.

pub mod view;
