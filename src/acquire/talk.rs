//! What a reader says to its device: commands when it was opened and before it is left, and what a protocol
//! asks in between.
//!
//! **Always holds.** A device that takes no bytes for [`SEND_WAIT_MAX`] is as good as gone: the reader lets
//! go of it and looks for it again, so a stuck device holds up no stop and no other source.
//!
//! **Must not know.** What the device answers.

use std::time::Duration;

use kymo_drivers::link::{Outlet, SendError, Stop};

use super::assemble::Assembler;

/// What is sent besides what the protocol asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commands {
    /// When the device was opened, one after the other.
    pub start: Vec<Vec<u8>>,
    /// Before the device is left, one after the other.
    pub stop: Vec<Vec<u8>>,
    /// After each of them.
    pub pause: Duration,
}

/// Longest wait for a device to take what it is sent: at 300 baud, the slowest rate in use, a second is thirty bytes.
pub(super) const SEND_WAIT_MAX: Duration = Duration::from_secs(2);

pub(super) struct Talk {
    outlet: Outlet,
    commands: Commands,
    /// What the protocol asks; its memory is kept from turn to turn.
    asked: Vec<u8>,
    due_ns: Option<i64>,
}

impl Talk {
    pub(super) fn new(outlet: Outlet, commands: Commands) -> Self {
        Self {
            outlet,
            commands,
            asked: Vec::new(),
            due_ns: None,
        }
    }

    pub(super) fn outlet(&self) -> &Outlet {
        &self.outlet
    }

    /// Sends the start commands. The order to stop cuts the pauses short.
    pub(super) fn start(&self, stop: &Stop) -> Result<(), SendError> {
        for command in &self.commands.start {
            self.outlet.send(command, SEND_WAIT_MAX)?;
            if !self.commands.pause.is_zero() && stop.wait(self.commands.pause) {
                break;
            }
        }
        Ok(())
    }

    /// Sends the stop commands, with their pauses: the order to stop has been given when they are.
    pub(super) fn stop(&self) -> Result<(), SendError> {
        for command in &self.commands.stop {
            self.outlet.send(command, SEND_WAIT_MAX)?;
            if !self.commands.pause.is_zero() {
                std::thread::park_timeout(self.commands.pause);
            }
        }
        Ok(())
    }

    /// The protocol's turn: sends what it asks.
    pub(super) fn turn(&mut self, assembler: &mut Assembler, now_ns: i64) -> Result<(), SendError> {
        self.due_ns = assembler.poll(now_ns, &mut self.asked);
        if self.asked.is_empty() {
            return Ok(());
        }
        let sent = self.outlet.send(&self.asked, SEND_WAIT_MAX);
        self.asked.clear();
        sent
    }

    /// How long until the protocol's next turn, ns; `None` if it has none.
    pub(super) fn due_in_ns(&self, now_ns: i64) -> Option<i64> {
        self.due_ns.map(|due| due.saturating_sub(now_ns).max(0))
    }
}
