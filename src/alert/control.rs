//! What people ask of rules while they run: acknowledge, silence, list.
//!
//! [`Control`] is the one way in, for whoever serves people: a socket, a page. The orders are obeyed by the thread that
//! judges, between two blocks.
//!
//! **Must not know.** How an order came.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::memory::RuleMemory;

/// Orders that wait at most.
const ORDERS_MAX: usize = 64;

/// How long an order may take: the thread that judges is at most a few blocks busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Order {
    /// Every rule, and where it stands.
    List,
    /// Somebody has seen this alert.
    Acknowledge {
        /// The rule.
        rule: String,
    },
    /// Nobody is to be told of this rule for a while.
    Silence {
        /// The rule.
        rule: String,
        /// Up to when, UTC ns.
        until_ns: i64,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// Take back what silences were declared for this rule while running.
    Unsilence {
        /// The rule.
        rule: String,
    },
}

/// A rule, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleStanding {
    /// Its name.
    pub rule: String,
    /// How bad it is.
    pub severity: String,
    /// Where it stands.
    pub state: RuleMemory,
    /// When its silence ends, if it is silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silenced_until_ns: Option<i64>,
}

/// Why an order was not obeyed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// There is no such rule.
    #[error("there is no rule `{rule}`; there are {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") })]
    Unknown {
        /// What was asked for.
        rule: String,
        /// Those that there are: some, if there are many.
        known: Vec<String>,
    },
    /// There is no alert, or it is acknowledged already.
    #[error("`{rule}` is no alert that waits to be acknowledged")]
    NotActive {
        /// The rule.
        rule: String,
    },
    /// There is nothing to take back.
    #[error("`{rule}` has no silence that was declared while running")]
    NotSilenced {
        /// The rule.
        rule: String,
    },
    /// Nobody judges any more, or not in time.
    #[error("the run did not answer")]
    NoAnswer,
}

impl ControlError {
    /// No such rule, but these.
    pub fn unknown<'n>(rule: &str, names: impl Iterator<Item = &'n str>) -> Self {
        Self::Unknown {
            rule: rule.chars().take(64).collect(),
            known: names.take(24).map(str::to_owned).collect(),
        }
    }
}

/// The answer to an order: the rules it was about.
pub type Answer = Result<Vec<RuleStanding>, ControlError>;

/// An order, and where the answer is wanted.
#[derive(Debug)]
pub struct Command {
    /// What to do.
    pub order: Order,
    /// Who waits for the answer.
    pub answer: flume::Sender<Answer>,
}

/// Gives orders to the thread that judges. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    commands: flume::Sender<Command>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

/// A way to give orders, and where they arrive. `wake` is called after each.
pub fn channel(wake: Arc<dyn Fn() + Send + Sync>) -> (Control, flume::Receiver<Command>) {
    let (commands, orders) = flume::bounded(ORDERS_MAX);
    (Control { commands, wake }, orders)
}

impl Control {
    /// Gives an order, and waits for what becomes of it.
    ///
    /// # Errors
    /// Why it was not obeyed.
    pub fn order(&self, order: Order) -> Answer {
        let (answer, answered) = flume::bounded(1);
        let sent = self.commands.try_send(Command { order, answer });
        sent.map_err(|_| ControlError::NoAnswer)?;
        (self.wake)();
        answered
            .recv_timeout(PATIENCE)
            .unwrap_or(Err(ControlError::NoAnswer))
    }
}
