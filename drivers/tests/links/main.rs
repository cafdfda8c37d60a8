//! Links: one suite over every one of them, and what each has of its own. The test is the far end.

mod kinds;
mod network;
mod ports;
mod suite;
mod text;
