//! The whole program from outside: what it writes, what it says, how it ends.

#[path = "../common/lab.rs"]
mod lab;

mod alerts;
mod audit;
mod bench;
mod capture;
mod commands;
mod computed;
mod converter;
mod devices;
mod disk;
mod far_end;
mod faults;
mod keep;
mod links;
mod note;
mod plot;
mod polled;
mod query;
mod receiver;
mod rehearsal;
mod replay;
mod run;
mod serve;
mod sim;
mod soak;
mod spectra;
mod store;
mod worked;
