//! Kymo: high-frequency sensor data acquisition, where every sample is kept or accounted for.
//!
//! Follow one block through the program:
//!
//! 1. [`acquire`]: a reader, one OS thread a source, reads bytes from a `kymo_drivers::link`, has a
//!    `kymo_drivers::protocol` decode them straight into a block, dates its frames, and pushes it;
//! 2. [`lanes`]: the block waits in its source's bounded queue, and the stage is woken if it sleeps;
//! 3. [`stage`]: takes the most urgent block there is, calibrates it, has [`alert`] look for rules
//!    that fire, and hands it on;
//! 4. [`journal`]: writes it down; with the next group commit it is safe;
//! 5. [`store`]: follows the journal, and makes Parquet of it, which [`store::read`] finds again;
//! 6. [`sink`]: follows it, too, and sends it to InfluxDB and its like; so does [`serve`], and shows it.
//!
//! Beside that path, [`capture`] records the bytes as they were read, if it is asked to.
//!
//! [`ledger`] counts it at each of these doors, [`latency`] says how long each took, and
//! [`pipeline`] is the only file that knows all rooms.

pub mod acquire;
pub mod alert;
pub mod alert_memory;
pub mod capture;
pub mod cli;
pub mod clock;
pub mod compute;
pub mod config;
pub mod control;
pub mod data_dir;
pub mod event;
pub mod expression;
pub mod journal;
pub mod lanes;
pub mod latency;
pub mod ledger;
pub mod limits;
mod nearest;
pub mod notify;
pub mod pipeline;
pub mod playback;
pub mod rehearsal;
pub mod run_record;
pub mod serve;
pub mod sink;
pub mod stage;
pub mod store;
mod trouble;
pub mod tuning;
