//! Whole-system tests: architecture.
