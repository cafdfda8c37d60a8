//! Every protocol from outside: bytes in, frames, losses and counts out.
//!
//! The encoders and checksums here are these tests' own and share nothing with the drivers, so that
//! a mistake made on both sides cannot hide.

mod arrays;
mod common;
mod declarations;
mod encode;
mod forms;
mod kinds;
mod model;
mod packets;
mod properties;
mod python;
mod suite;
mod text;
