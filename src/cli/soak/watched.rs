//! One device of a soak: its log, and the rows recorded of it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kymo_simulators::Options;

use super::check::{Checker, Counts, Values};
use super::lab::Speech;
use super::log::{Log, Said};

/// A device, what it says it did, and what was recorded of it.
pub(super) struct Watched {
    pub(super) name: &'static str,
    speech: Speech,
    device: Options,
    log: Log,
    checker: Checker,
    /// The last frame that must come.
    last: Option<u64>,
    hang_ups: u64,
    /// Questions told of so far.
    heard: u64,
    /// Rows of which somebody was asked in vain name no frame.
    pub(super) unanswered: u64,
    frames: u64,
    since: Instant,
    told: usize,
}

impl Watched {
    /// # Errors
    /// If its log cannot be read.
    pub(super) fn new(
        name: &'static str,
        speech: Speech,
        device: &Options,
    ) -> Result<Self, String> {
        let path = device
            .truth
            .as_ref()
            .map_or_else(PathBuf::new, |log| log.file.clone());
        let known = device.clone();
        let values: Values = Box::new(move |number| {
            (0..)
                .map_while(|channel| known.sent(channel, number))
                .collect()
        });
        Ok(Self {
            name,
            speech,
            device: device.clone(),
            log: Log::open(&path)?,
            checker: Checker::new(values),
            last: None,
            hang_ups: 0,
            heard: 0,
            unanswered: 0,
            frames: 0,
            since: Instant::now(),
            told: 0,
        })
    }

    /// The same device, with its log read from the beginning.
    ///
    /// # Errors
    /// If its log cannot be read.
    pub(super) fn again(&self) -> Result<Self, String> {
        Self::new(self.name, self.speech, &self.device)
    }

    /// Takes what the log says by now.
    ///
    /// # Errors
    /// If that is not understood.
    pub(super) fn listen(&mut self) -> Result<(), String> {
        while self.listen_once()? {}
        Ok(())
    }

    fn listen_once(&mut self) -> Result<bool, String> {
        let Some(said) = self.log.next()? else {
            return Ok(false);
        };
        if self.speech != Speech::Unasked {
            self.hear_answer(said);
            return Ok(true);
        }
        match said {
            Said::Sent { first, count, .. } => self.last = Some(first + count - 1),
            Said::HungUp { .. } => {
                self.last = None;
                self.hang_ups += 1;
            }
            Said::Hit { .. } | Said::End => {}
        }
        self.checker.say(said);
        Ok(true)
    }

    /// Whether an answer was taken for one is up to who asked: it may be among the rows.
    fn hear_answer(&mut self, said: Said) {
        let number = match said {
            Said::Sent { first, .. } => first,
            Said::Hit { number, .. } => number,
            Said::HungUp { .. } => {
                self.hang_ups += 1;
                return;
            }
            Said::End => return,
        };
        let first = match self.speech {
            Speech::Questioned => self.heard,
            Speech::Asked | Speech::Unasked => number,
        };
        for number in first..=number {
            self.checker.say(Said::Hit {
                number,
                is_short: false,
            });
        }
        self.heard = number + 1;
    }

    /// A row was recorded.
    pub(super) fn row(&mut self, values: Vec<f64>) {
        if self.speech != Speech::Unasked && values.first().is_some_and(|number| number.is_nan()) {
            self.unanswered += 1;
        } else {
            self.checker.row(values);
        }
    }

    /// Compares what there is by now, and gives what was found since the last time.
    pub(super) fn compare(&mut self) -> Vec<String> {
        self.checker.compare();
        self.news()
    }

    /// As [`Watched::compare`], with no more of the log in memory than it takes to judge the rows.
    ///
    /// # Errors
    /// If the log is not understood.
    pub(super) fn compare_sparely(&mut self) -> Result<Vec<String>, String> {
        loop {
            self.checker.compare();
            if !self.checker.waits() || !self.listen_once()? {
                return Ok(self.news());
            }
        }
    }

    /// Nothing more comes.
    pub(super) fn finish(&mut self) -> Vec<String> {
        self.checker.finish();
        self.news()
    }

    fn news(&mut self) -> Vec<String> {
        let all = self.checker.findings();
        let news = all[self.told..].to_vec();
        self.told = all.len();
        news
    }

    pub(super) fn counts(&self) -> Counts {
        self.checker.counts()
    }

    /// How often it hung up.
    pub(super) fn hang_ups(&self) -> u64 {
        self.hang_ups
    }

    /// Whether every frame that must come has, if this is the number of the latest that did.
    pub(super) fn has_all_by(&self, latest: f64) -> bool {
        self.last.is_none_or(|last| latest >= last as f64)
    }

    /// Whether it has brought no frame for so long.
    pub(super) fn is_stuck(&mut self, frames: u64, patience: Duration) -> bool {
        if frames != self.frames {
            (self.frames, self.since) = (frames, Instant::now());
        }
        self.since.elapsed() >= patience
    }
}
