//! Sinks from outside: real servers, a scripted one with every kind of answer, outages, and Kymo killed in the middle.

#[allow(dead_code)] // It is shared with other tests.
#[path = "../common/lab.rs"]
mod lab;

mod answers;
mod catching_up;
mod commands;
mod outages;
mod scripted;
mod secure;
mod servers;
mod truth;
