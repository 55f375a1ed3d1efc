//! Room `broker`: under construction.
