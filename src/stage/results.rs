//! What the stage does with what is computed: counts it as acquired where it comes to be, and passes it on like any
//! other block.

use std::time::Duration;

use super::computed::{Computed, ComputedCounts, Ready};
use super::{Recorder, Stage};
use crate::lanes::carry;

impl<R: Recorder> Stage<R> {
    /// Passes on whatever was computed.
    pub(super) fn take_computed(&mut self) {
        while let Some(ready) = self.computed.as_mut().and_then(Computed::next) {
            match ready {
                Ready::Block(block) => {
                    let counts = self.ledger.source(block.source);
                    counts.add_computed(block.frames.samples());
                    self.pass(block);
                }
                Ready::Lost {
                    source,
                    lane,
                    priority,
                    samples,
                    gap,
                } => {
                    let counts = self.ledger.source(source);
                    counts.add_computed(samples);
                    counts.add_dropped(gap.reason, samples);
                    let lanes = self.lanes.get_mut(usize::from(source.0));
                    if let Some(lane) = lanes.and_then(|lanes| lanes.get_mut(usize::from(lane))) {
                        lane.priority = Some(priority);
                        carry(&mut lane.lost, gap);
                    }
                }
                Ready::Watermark(_) => {}
            }
        }
    }

    /// Looks after what is computed of silent sources.
    pub(super) fn tick_computed(&mut self, is_drained: bool) {
        if let Some(computed) = &mut self.computed {
            computed.tick(self.clock.now_ns(), is_drained);
            self.take_computed();
        }
    }

    /// How long the stage may sleep at most, for the sake of what is computed.
    pub(super) fn computed_patience(&self) -> Option<Duration> {
        self.computed.as_ref().map(|_| Computed::patience())
    }

    /// Every lane has ended: computes what is left.
    pub(super) fn finish_computed(&mut self) -> ComputedCounts {
        let Some(computed) = &mut self.computed else {
            return ComputedCounts::default();
        };
        computed.end();
        loop {
            self.take_computed();
            if self.computed.as_ref().is_none_or(Computed::is_done) {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        self.computed
            .as_mut()
            .map_or_else(ComputedCounts::default, Computed::counts)
    }
}
