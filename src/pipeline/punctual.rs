//! What the run has of the host's help to be punctual: tried once, told once, and then asked for by each thread.

use std::io;

use kymo_drivers::block::Priority;

use crate::clock::Clock;
use crate::config::plan::{Host, Source};
use crate::event::{EventKind, EventSender};
use crate::tuning::{Rank, Scheduling, lock_memory};

/// How the run's threads are scheduled, as far as it is permitted.
pub(super) struct Punctual {
    stage: Scheduling,
    readers: Scheduling,
}

impl Punctual {
    /// Tries what is wanted. What is not permitted becomes an event each, and the run goes on without it.
    pub(super) fn new(host: &Host, events: &EventSender, clock: &Clock) -> io::Result<Self> {
        let wanted = |rank, cores: &Vec<usize>| Scheduling {
            realtime: host.realtime.then_some(rank),
            cores: cores.clone(),
        };
        // Whoever may have the highest rank may have the others.
        let (stage, of_stage) = wanted(Rank::CriticalReader, &host.stage_cores).tried()?;
        let (readers, of_readers) = wanted(Rank::CriticalReader, &host.reader_cores).tried()?;
        let locked = if host.lock_memory {
            lock_memory()
        } else {
            Ok(())
        };
        let mut told: Vec<String> = Vec::new();
        let refused = of_stage.into_iter().chain(of_readers).chain(locked.err());
        for what in refused.map(|refused| refused.to_string()) {
            // Stage and readers may be refused the same.
            if !told.contains(&what) {
                events.send(
                    None,
                    clock.now_ns(),
                    EventKind::NotPermitted { what: what.clone() },
                );
                told.push(what);
            }
        }
        Ok(Self { stage, readers })
    }

    /// What the stage's thread does first.
    pub(super) fn stage(&self) -> impl FnOnce() + Send + use<> {
        as_tried(&self.stage, Rank::Stage)
    }

    /// What a reader's thread does first.
    pub(super) fn reader(&self, source: &Source) -> impl FnOnce() + Send + use<> {
        let mut channels = source.channels.iter();
        let is_critical = channels.any(|channel| channel.priority == Priority::Critical);
        let rank = if is_critical {
            Rank::CriticalReader
        } else {
            Rank::Reader
        };
        as_tried(&self.readers, rank)
    }
}

fn as_tried(tried: &Scheduling, rank: Rank) -> impl FnOnce() + Send + use<> {
    let scheduling = Scheduling {
        realtime: tried.realtime.map(|_| rank),
        cores: tried.cores.clone(),
    };
    move || {
        // It was permitted a moment ago; if it no longer is, that has been the host's doing.
        let _ = scheduling.apply();
    }
}
