//! What a link notices beside the bytes: losses below it, and what it was asked for and cannot do.
//!
//! **Always holds.** Counts rise only; each loss is given out once. What a link cannot know is *not supported*, and
//! not zero.
//!
//! **Must not know.** Who is told.

/// What can go wrong below a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineError {
    /// The port's chip had a byte too many: the kernel fetched them too late.
    Overrun,
    /// A byte without its stop bit: noise, or the wrong rate.
    Framing,
    /// A byte with the wrong parity.
    Parity,
    /// The line was held low for longer than a byte: a break, or a cable being pulled.
    Break,
    /// The kernel's own buffer was full: Kymo fetched them too late.
    BufferOverrun,
    /// A datagram found the socket's buffer full.
    DatagramDropped,
    /// A datagram was longer than any can be that is read here: its end is lost.
    DatagramCut,
    /// A datagram came from somebody who is not on the list.
    DatagramRefused,
    /// Somebody wanted to connect who may not, or while another is connected.
    PeerRefused,
}

impl LineError {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Overrun,
        Self::Framing,
        Self::Parity,
        Self::Break,
        Self::BufferOverrun,
        Self::DatagramDropped,
        Self::DatagramCut,
        Self::DatagramRefused,
        Self::PeerRefused,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Overrun => "overrun",
            Self::Framing => "framing",
            Self::Parity => "parity",
            Self::Break => "break",
            Self::BufferOverrun => "buffer_overrun",
            Self::DatagramDropped => "datagram_dropped",
            Self::DatagramCut => "datagram_cut",
            Self::DatagramRefused => "datagram_refused",
            Self::PeerRefused => "peer_refused",
        }
    }

    /// One, or several of it, as a person says it.
    #[must_use]
    pub fn text(self, count: u64) -> String {
        let (one, many) = match self {
            Self::Overrun => ("overrun in the port", "overruns in the port"),
            Self::Framing => ("framing error", "framing errors"),
            Self::Parity => ("parity error", "parity errors"),
            Self::Break => ("break", "breaks"),
            Self::BufferOverrun => (
                "overrun of the kernel's buffer",
                "overruns of the kernel's buffer",
            ),
            Self::DatagramDropped => (
                "datagram that found the socket's buffer full",
                "datagrams that found the socket's buffer full",
            ),
            Self::DatagramCut => ("datagram cut short", "datagrams cut short"),
            Self::DatagramRefused => (
                "datagram of a sender that is not on the list",
                "datagrams of senders that are not on the list",
            ),
            Self::PeerRefused => ("peer refused", "peers refused"),
        };
        format!("{count} {}", if count == 1 { one } else { many })
    }
}

/// How often each went wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineErrors([u64; LineError::ALL.len()]);

impl LineErrors {
    /// Counts so many more.
    pub fn add(&mut self, error: LineError, count: u64) {
        let place = &mut self.0[error as usize];
        *place = place.saturating_add(count);
    }

    /// How many of one.
    #[must_use]
    pub fn get(&self, error: LineError) -> u64 {
        self.0[error as usize]
    }

    /// Those that happened at all.
    pub fn iter(&self) -> impl Iterator<Item = (LineError, u64)> + '_ {
        let all = LineError::ALL.into_iter();
        all.map(|error| (error, self.get(error)))
            .filter(|(_, count)| *count > 0)
    }

    /// Whether nothing went wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The counts, which start again from nothing.
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

/// What a link noticed since it was last asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Noticed {
    /// What went wrong since then.
    pub line_errors: LineErrors,
    /// What else there is to tell, each once: a setting that the device does not support, a peer refused.
    pub notes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_a_place_of_its_own_and_is_given_out_once() {
        let mut errors = LineErrors::default();
        for (count, error) in (1..).zip(LineError::ALL) {
            errors.add(error, count);
        }
        for (count, error) in (1..).zip(LineError::ALL) {
            assert_eq!(errors.get(error), count);
        }
        assert_eq!(errors.take().iter().count(), LineError::ALL.len());
        assert!(errors.is_empty());
    }
}
