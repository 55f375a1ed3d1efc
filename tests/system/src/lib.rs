//! Whole-system tests: system.
