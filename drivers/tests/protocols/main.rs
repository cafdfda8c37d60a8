//! Every protocol from outside: bytes in, frames, losses and counts out.
//!
//! The encoders and checksums here are these tests' own and share nothing with the drivers, so that
//! a mistake made on both sides cannot hide.

mod common;
mod declarations;
mod encode;
mod kinds;
mod modbus;
mod model;
mod packets;
mod polled;
mod properties;
mod scpi;
mod suite;
mod text;
