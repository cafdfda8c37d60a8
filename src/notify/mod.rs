//! Notifiers: who is told of alerts, and how.
//!
//! Two sorts. A *direct* one acts at once, where the alert is raised: the terminal, a line back to a device.
//! A *durable* one follows the journal on a thread of its own with a cursor of its own (`follower.rs`): a log, a webhook,
//! a command. It delivers every alert that was committed at least once, across any crash; what cannot be delivered
//! becomes a dead letter (`dead.rs`), to be seen and sent again.
//!
//! To add a notifier: one file, with a [`Kind`], and one line in [`KINDS`]. A kind names the keys it takes in the
//! configuration, and makes itself of their values.
//!
//! **Always holds.** No notifier waits for another, and nobody waits for a notifier.
//!
//! **Must not know.** Rules, the stage, devices: it is told of an alert as the journal has it.

mod command;
mod dead;
mod follower;
mod line;
mod log;
mod message;
mod settings;
mod terminal;
mod webhook;

use std::time::Duration;

use crate::alert::{Change, Severity};

pub use dead::{DeadLetter, DeadLetters};
pub use follower::{Follower, FollowerSetup, Patience, Status, cursor_name, deliver_once};
pub use message::{Message, PLACEHOLDERS, is_known};
pub use settings::{Key, KeyKind, Settings, Value, Wrong};

/// Every kind of notifier. A new one is its file, and its line here.
pub static KINDS: &[&Kind] = &[
    &log::KIND,
    &terminal::KIND,
    &webhook::KIND,
    &command::KIND,
    &line::KIND,
];

/// A kind of notifier.
#[derive(Debug)]
pub struct Kind {
    /// Its `type` in the configuration.
    pub name: &'static str,
    /// What it does, for people.
    pub about: &'static str,
    /// The keys it takes beside those of every notifier.
    pub keys: &'static [Key],
    /// It shows alerts to whoever looks on at the run.
    pub shows: bool,
    /// It acts for rules that name it, and for no others; a silence does not hold it back.
    pub is_interlock: bool,
    /// Makes one of its keys' values.
    pub make: fn(&Settings) -> Result<Made, Wrong>,
}

/// A notifier, ready.
pub enum Made {
    /// Acts where the alert is raised.
    Direct(Box<dyn Direct>),
    /// Follows the journal.
    Durable(Box<dyn Deliver>),
}

/// Acts at once, on the thread that raises the alert: it must not wait.
pub trait Direct: Send {
    /// Tells of an alert.
    fn tell(&mut self, message: &Message<'_>, world: &dyn World) -> Told;
}

/// What came of telling at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It is done, or on its way.
    Done,
    /// It cannot be done.
    Failed(String),
}

/// What a direct notifier can reach.
pub trait World {
    /// Shows a line to whoever looks on.
    fn show(&self, text: String);

    /// Sends bytes to the device of the source at this place, without waiting.
    ///
    /// # Errors
    /// Why they cannot be sent.
    fn send(&self, source: usize, bytes: &[u8]) -> Result<(), String>;
}

/// Delivers messages, each within its own limit of time.
pub trait Deliver: Send {
    /// Delivers one message. Ends early if `patience` is over.
    fn deliver(&mut self, message: &Message<'_>, patience: &Patience) -> Outcome;
}

/// What came of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has arrived.
    Delivered,
    /// It may arrive later.
    Again {
        /// What went wrong.
        why: String,
        /// How long the other side wants to be left alone, if it said so.
        after: Option<Duration>,
    },
    /// It will never arrive.
    Never {
        /// What went wrong.
        why: String,
    },
}

/// A declared notifier.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: &'static Kind,
    /// Its kind's keys.
    pub settings: Settings,
    /// Alerts that are less bad are none of its business.
    pub severity: Severity,
    /// The changes it is told of.
    pub on: Vec<Change>,
    /// How long it tries to deliver one message.
    pub give_up: Duration,
}

impl Options {
    /// Whether it is to be told of this.
    #[must_use]
    pub fn wants(
        &self,
        named: Option<&[String]>,
        severity: Severity,
        change: Change,
        silenced: bool,
    ) -> bool {
        let is_named = named.map_or(!self.kind.is_interlock, |names| names.contains(&self.name));
        is_named
            && severity >= self.severity
            && self.on.contains(&change)
            && (!silenced || self.kind.is_interlock)
    }
}
