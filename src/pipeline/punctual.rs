//! What the run has of the host's help to be punctual: tried once, told once, and then asked for by each thread.

use std::io;

use kymo_drivers::block::Priority;

use crate::clock::Clock;
use crate::config::plan::{Host, Source};
use crate::event::{EventKind, EventSender};
use crate::tuning::{Rank, Scheduling, be_nice, lock_memory};

/// By how much a reader is less urgent than the stage, by its source's most urgent priority: a device of bulk data that
/// floods must not take the processor from who works on what others sent. The others stay as they are, since it costs
/// throughput: with five steps `kymo bench serial` reached 0.70 to 0.76 of the bare loop, without 0.77 to 0.79, in turns. It
/// is a matter of this process alone where it has a group of its own (a service, a session), so nothing else on the host
/// goes before a reader because of it.
const NICE: [i32; Priority::ALL.len()] = [0, 0, 0, 10];

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
        let priorities = source.channels.iter().map(|channel| channel.priority);
        let most_urgent = priorities.min_by_key(|priority| priority.index());
        let most_urgent = most_urgent.unwrap_or(Priority::Bulk);
        let rank = if most_urgent == Priority::Critical {
            Rank::CriticalReader
        } else {
            Rank::Reader
        };
        let prepare = as_tried(&self.readers, rank);
        move || {
            be_nice(NICE[most_urgent.index()]);
            prepare();
        }
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
