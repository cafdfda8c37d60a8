//! The whole program from outside: what it writes, what it says, how it ends.

mod audit;
mod commands;
mod devices;
mod disk;
mod lab;
mod plot;
mod query;
mod receiver;
mod run;
mod store;
