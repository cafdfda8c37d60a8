//! The whole program from outside: what it writes, what it says, how it ends.

mod audit;
mod commands;
mod computed;
mod devices;
mod disk;
mod far_end;
mod lab;
mod plot;
mod query;
mod run;
mod store;
