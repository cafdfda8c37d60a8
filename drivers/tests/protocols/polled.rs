//! Time for protocols that ask: a reader's loop around one, with a clock that is only counted and a device that is a
//! function.

use std::collections::VecDeque;

use kymo_drivers::frames::{Frames, Tally};
use kymo_drivers::protocol::{Options, Protocol};

pub(crate) const MS: i64 = 1_000_000;

/// A reader, its clock, and what came of it.
pub(crate) struct Desk {
    protocol: Box<dyn Protocol>,
    out: Frames,
    buffer: Vec<u8>,
    due_ns: Option<i64>,
    pub(crate) now_ns: i64,
    /// What was sent, and when.
    pub(crate) sent: Vec<(i64, Vec<u8>)>,
    /// The frames, and when they came; where the protocol gave a time, that.
    pub(crate) rows: Vec<(i64, Vec<f64>)>,
    pub(crate) tally: Tally,
    pub(crate) lost: Vec<Option<u64>>,
    pub(crate) told: Vec<String>,
    /// What the device has sent and has not arrived.
    arriving: VecDeque<(i64, Vec<u8>)>,
    /// Answers are handed on in pieces of so many bytes at most, all at their time.
    pub(crate) piece: usize,
}

/// What a device sends, and how long after.
pub(crate) type Answers = Vec<(i64, Vec<u8>)>;

impl Desk {
    pub(crate) fn new(options: &Options) -> Self {
        let mut protocol = options.build().expect("the options work");
        protocol.reset();
        Self {
            out: Frames::with_capacity(protocol.channels(), 7),
            protocol,
            buffer: Vec::new(),
            due_ns: Some(0),
            now_ns: 0,
            sent: Vec::new(),
            rows: Vec::new(),
            tally: Tally::default(),
            lost: Vec::new(),
            told: Vec::new(),
            arriving: VecDeque::new(),
            piece: usize::MAX,
        }
    }

    /// Lets time pass until then, with a device that hears every message.
    pub(crate) fn run(&mut self, until_ns: i64, mut device: impl FnMut(i64, &[u8]) -> Answers) {
        let mut turns_at_once = 0;
        loop {
            let arrives_ns = self.arriving.front().map_or(i64::MAX, |(at, _)| *at);
            let due_ns = self.due_ns.unwrap_or(i64::MAX);
            let next_ns = arrives_ns.min(due_ns).max(self.now_ns);
            if next_ns > until_ns {
                self.now_ns = until_ns;
                return;
            }
            turns_at_once = if next_ns == self.now_ns {
                turns_at_once + 1
            } else {
                0
            };
            assert!(turns_at_once < 10_000, "it turns and turns at {next_ns}");
            self.now_ns = next_ns;
            let from = self.sent.len();
            if arrives_ns <= next_ns {
                let (_, bytes) = self.arriving.pop_front().expect("it arrives");
                for piece in bytes.chunks(self.piece.min(bytes.len()).max(1)) {
                    self.hear(piece);
                }
            } else {
                self.poll();
                self.feed();
                self.poll();
            }
            for (at_ns, message) in &self.sent[from..] {
                for (after_ns, answer) in device(*at_ns, message) {
                    let at = at_ns + after_ns;
                    let place = self.arriving.partition_point(|(other, _)| *other <= at);
                    self.arriving.insert(place, (at, answer));
                }
            }
        }
    }

    /// Bytes come, now.
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        self.poll();
        self.feed();
        self.poll();
    }

    /// The link is opened anew.
    pub(crate) fn reset(&mut self) {
        self.protocol.reset();
        self.buffer.clear();
        self.arriving.clear();
        self.due_ns = Some(self.now_ns);
    }

    fn poll(&mut self) {
        let mut message = Vec::new();
        self.due_ns = self.protocol.poll(self.now_ns, &mut message);
        if !message.is_empty() {
            self.sent.push((self.now_ns, message));
        }
    }

    fn feed(&mut self) {
        loop {
            let used = self.protocol.decode(&self.buffer, &mut self.out);
            assert!(used <= self.buffer.len());
            let is_full = self.out.is_full();
            let given = self.out.given_ns().to_vec();
            for index in 0..self.out.len() {
                assert!(self.out.ends()[index] as usize <= used);
                let values = (0..self.out.channels()).map(|c| self.out.column(c)[index]);
                let at = given.get(index).copied().unwrap_or(self.now_ns);
                self.rows.push((at, values.collect()));
            }
            self.lost
                .extend(self.out.losses.iter().map(|loss| loss.frames));
            let tally = self.out.take_tally();
            self.tally.corrupt_frames += tally.corrupt_frames;
            self.tally.skipped_bytes += tally.skipped_bytes;
            self.tally.unanswered += tally.unanswered;
            self.tally.refused += tally.refused;
            assert_eq!(tally.lost_frames, 0);
            self.out.clear();
            self.buffer.drain(..used);
            if !is_full {
                break;
            }
        }
        assert!(self.buffer.len() <= self.protocol.tail_max());
        while let Some(what) = self.protocol.told() {
            self.told.push(what);
        }
    }

    /// The values of all frames, NaN as `None`.
    pub(crate) fn values(&self) -> Vec<Vec<Option<f64>>> {
        let known = |value: &f64| (!value.is_nan()).then_some(*value);
        let rows = self.rows.iter();
        rows.map(|(_, row)| row.iter().map(known).collect())
            .collect()
    }
}
