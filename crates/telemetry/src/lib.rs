//! Room `telemetry`: under construction.
