//! The whole program from outside: what it writes, what it says, how it ends.

mod commands;
mod devices;
mod disk;
mod lab;
mod run;
