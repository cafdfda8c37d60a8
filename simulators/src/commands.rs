//! What a device that sends by itself understands: to start, to stop, to say who it is.
//!
//! What for: many devices are silent until they are told to send, and are told to stop before they are left.
//!
//! What always holds: what is heard and makes no sense is forgotten; what is remembered of it is bounded.
//!
//! What it must not know: what the device sends.

use std::io;

use crate::pty::Pty;

/// What a device understands; each is compared with the end of what was heard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandOptions {
    /// Begins to send; a device that has this is silent until it hears it.
    pub start: Option<Vec<u8>>,
    /// Falls silent.
    pub stop: Option<Vec<u8>>,
    /// Questions, and the answer to each.
    pub answers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The longest command.
pub const COMMAND_BYTES_MAX: usize = 256;

/// What was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Start,
    Stop,
    Answer(Vec<u8>),
}

pub(crate) struct Commands {
    options: CommandOptions,
    /// The end of what was heard, as long as the longest command.
    heard: Vec<u8>,
    is_started: bool,
}

impl Commands {
    /// `None`: it understands nothing.
    pub(crate) fn new(options: &CommandOptions) -> Option<Self> {
        (*options != CommandOptions::default()).then(|| Self {
            options: options.clone(),
            heard: Vec::new(),
            is_started: options.start.is_none(),
        })
    }

    /// Whether it was not told to send.
    pub(crate) fn is_silent(&self) -> bool {
        !self.is_started
    }

    /// Its reader has left: half a command of his means nothing, and what he started goes on.
    pub(crate) fn forget(&mut self) {
        self.heard.clear();
    }

    /// Takes what was said.
    pub(crate) fn hear(&mut self, port: &Pty) -> io::Result<Vec<Told>> {
        let mut buffer = [0; 1024];
        let count = port.read(&mut buffer)?;
        Ok(self.take(&buffer[..count]))
    }

    fn take(&mut self, bytes: &[u8]) -> Vec<Told> {
        let mut told = Vec::new();
        for byte in bytes {
            if self.heard.len() == COMMAND_BYTES_MAX {
                self.heard.remove(0);
            }
            self.heard.push(*byte);
            let is_heard = |command: &Vec<u8>| self.heard.ends_with(command);
            let understood = if self.options.start.as_ref().is_some_and(is_heard) {
                self.is_started = true;
                Told::Start
            } else if self.options.stop.as_ref().is_some_and(is_heard) {
                self.is_started = false;
                Told::Stop
            } else if let Some((_, answer)) =
                (self.options.answers.iter()).find(|(question, _)| is_heard(question))
            {
                Told::Answer(answer.clone())
            } else {
                continue;
            };
            told.push(understood);
            self.heard.clear();
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_heard_in_pieces_and_behind_noise() {
        let options = CommandOptions {
            start: Some(b"GO\n".to_vec()),
            stop: Some(b"HALT\n".to_vec()),
            answers: vec![(b"ID?\n".to_vec(), b"RIG\n".to_vec())],
        };
        assert!(Commands::new(&CommandOptions::default()).is_none());
        let mut commands = Commands::new(&options).unwrap();
        assert!(commands.is_silent());
        assert_eq!(commands.take(b"\xFF\0G"), []);
        assert_eq!(
            commands.take(b"O\nID?\n"),
            [Told::Start, Told::Answer(b"RIG\n".to_vec())]
        );
        assert!(!commands.is_silent());
        assert_eq!(commands.take(&[b'x'; 5000]), []);
        assert_eq!(commands.take(b"HALT\n"), [Told::Stop]);
        assert!(commands.is_silent());
    }
}
