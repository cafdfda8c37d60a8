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
mod modbus;
mod model;
mod packets;
mod polled;
mod properties;
mod python;
mod receiver_model;
mod receivers;
mod receivers_oracle;
mod receivers_random;
mod receivers_ubx;
mod scpi;
mod suite;
mod text;
