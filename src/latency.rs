//! latency.
