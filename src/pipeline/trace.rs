//! What a stage hands on, as a trace that can be compared with another's, and hashed.
//!
//! **Always holds.** A trace has all that a run records: blocks with their times, values bit by bit, numbers and gaps; alerts with
//! times, values and causing samples; events. It has no latency and nothing else of the host.

use std::fmt::Write as _;

use kymo_drivers::block::{Block, Gap, GapReason, Priority, SourceId};
use sha2::{Digest as _, Sha256};

use super::tables::Table;
use crate::alert::{Alert, RuleMemory};
use crate::clock::rfc3339;
use crate::event::Event;
use crate::stage::Recorder;

/// Something that a stage handed on.
#[derive(Debug)]
pub(super) enum Step {
    Block(Block),
    Gaps(SourceId, u8, Vec<Gap>),
    Alert(Box<Alert>),
    States(Vec<(String, RuleMemory)>),
    Event(Event),
}

/// Hands everything to whoever compares.
pub(super) struct Tracer(pub(super) flume::Sender<Step>);

impl Tracer {
    /// Nobody compares any more once a difference was found.
    fn put(&self, step: Step) {
        let _ = self.0.send(step);
    }
}

impl Recorder for Tracer {
    fn has_room(&self, _: Priority) -> bool {
        true
    }

    fn record(&mut self, block: Block) -> Result<(), (Block, GapReason)> {
        self.put(Step::Block(block));
        Ok(())
    }

    fn record_gaps(&mut self, source: SourceId, lane: u8, _: Priority, gaps: &[Gap]) {
        self.put(Step::Gaps(source, lane, gaps.to_vec()));
    }

    fn record_alert(&mut self, alert: &Alert) {
        self.put(Step::Alert(Box::new(*alert)));
    }

    fn record_states(&mut self, states: &[(String, RuleMemory)], _: i64) {
        self.put(Step::States(states.to_vec()));
    }

    fn record_event(&mut self, event: &Event) {
        self.put(Step::Event(event.clone()));
    }
}

/// A hash over the steps of a trace, in their order.
#[derive(Default)]
pub(super) struct Hash(Sha256);

impl Hash {
    pub(super) fn add(&mut self, step: &Step) {
        match step {
            Step::Block(block) => self.add_block(block),
            Step::Gaps(source, lane, gaps) => {
                self.0.update([1, *lane]);
                self.0.update(source.0.to_le_bytes());
                gaps.iter().for_each(|gap| self.add_gap(gap));
            }
            // What is rare is hashed as its text.
            Step::Alert(alert) => self.add_text(2, &alert_text(alert)),
            Step::States(states) => self.add_text(3, &format!("{states:?}")),
            Step::Event(event) => self.add_text(4, &event_text(event)),
        }
    }

    /// In hexadecimal.
    pub(super) fn text(self) -> String {
        let mut text = String::new();
        for byte in self.0.finalize() {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    fn add_block(&mut self, block: &Block) {
        let frames = block.frames.len();
        self.0.update([0, block.lane]);
        self.0.update(block.source.0.to_le_bytes());
        self.0.update(block.first_frame.to_le_bytes());
        self.0.update((frames as u64).to_le_bytes());
        for frame in 0..frames {
            self.0.update(block.time_ns(frame).to_le_bytes());
        }
        for column in 0..block.frames.channels() {
            for value in block.frames.column(column) {
                self.0.update(value.to_bits().to_le_bytes());
            }
        }
        block.gaps.iter().for_each(|gap| self.add_gap(gap));
    }

    fn add_gap(&mut self, gap: &Gap) {
        self.0.update(gap.before.to_le_bytes());
        self.0.update(gap.from_ns.to_le_bytes());
        self.0.update(gap.to_ns.to_le_bytes());
        self.0
            .update(gap.frames.map_or(u64::MAX, |frames| frames).to_le_bytes());
        self.0.update([gap.reason as u8]);
    }

    fn add_text(&mut self, kind: u8, text: &str) {
        self.0.update([kind]);
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text);
    }
}

/// Where two traces differ, in words.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// Of what: a channel, a lane, a rule, an event.
    pub what: String,
    /// When, by the recording's time, RFC 3339; empty where there is no time.
    pub time: String,
    /// What the first replay gave.
    pub first: String,
    /// What the other one gave.
    pub second: String,
}

const NOTHING: &str = "nothing: it was over";

/// The names of what is in a trace.
pub(super) struct Named<'a> {
    pub(super) tables: &'a [Table],
    /// By place.
    pub(super) rules: Vec<&'a str>,
}

impl Named<'_> {
    /// How two steps at the same place differ; `None` if they do not. One of them may be missing.
    pub(super) fn compare(
        &self,
        first: Option<&Step>,
        second: Option<&Step>,
    ) -> Option<Difference> {
        match (first, second) {
            (None, None) => None,
            (Some(Step::Block(a)), Some(Step::Block(b)))
                if (a.source, a.lane) == (b.source, b.lane) =>
            {
                self.compare_blocks(a, b)
            }
            (Some(a), Some(b)) => {
                let (first, second) = (self.words(a), self.words(b));
                (first != second).then(|| self.difference(a, first, second))
            }
            (Some(a), None) => Some(self.difference(a, self.words(a), NOTHING.to_owned())),
            (None, Some(b)) => Some(self.difference(b, NOTHING.to_owned(), self.words(b))),
        }
    }

    fn difference(&self, step: &Step, first: String, second: String) -> Difference {
        let (what, time_ns) = match step {
            Step::Block(block) => (self.lane(block.source, block.lane), block.first_ns()),
            Step::Gaps(source, lane, gaps) => {
                let gaps = gaps.first();
                (self.lane(*source, *lane), gaps.map(|gap| gap.from_ns))
            }
            Step::Alert(alert) => (self.rule(alert.rule), Some(alert.moved.time_ns)),
            Step::States(_) => ("where the rules stand at the end".to_owned(), None),
            Step::Event(event) => {
                let source = event.source.map(|source| self.source(source));
                (
                    source.unwrap_or_else(|| "an event".to_owned()),
                    Some(event.time_ns),
                )
            }
        };
        Difference {
            what,
            time: time_ns.map_or_else(String::new, rfc3339),
            first,
            second,
        }
    }

    fn compare_blocks(&self, a: &Block, b: &Block) -> Option<Difference> {
        let lane = || self.lane(a.source, a.lane);
        let differ =
            |what: String, time_ns: Option<i64>, first: String, second: String| Difference {
                what,
                time: time_ns.map_or_else(String::new, rfc3339),
                first,
                second,
            };
        let frames = a.frames.len().min(b.frames.len());
        for frame in 0..frames {
            let (first_ns, second_ns) = (a.time_ns(frame), b.time_ns(frame));
            if first_ns != second_ns {
                let what = format!(
                    "{}, time of the frame {}",
                    lane(),
                    a.first_frame + frame as u64
                );
                return Some(differ(
                    what,
                    Some(first_ns),
                    rfc3339(first_ns),
                    rfc3339(second_ns),
                ));
            }
            for column in 0..a.frames.channels().min(b.frames.channels()) {
                let value = |block: &Block| block.frames.column(column)[frame];
                let (first, second) = (value(a), value(b));
                if first.to_bits() != second.to_bits() {
                    let what = self.channel(a.source, a.lane, column);
                    let (first, second) = (format!("{first:?}"), format!("{second:?}"));
                    return Some(differ(what, Some(first_ns), first, second));
                }
            }
        }
        if a.gaps != b.gaps {
            let gaps = |block: &Block| gaps_text(&block.gaps);
            let what = format!("{}, gaps", lane());
            return Some(differ(what, a.first_ns(), gaps(a), gaps(b)));
        }
        let shape = |block: &Block| {
            let (first, count) = (block.first_frame, block.frames.len());
            format!("a block of {count} frames from the frame {first} on")
        };
        (shape(a) != shape(b)).then(|| differ(lane(), a.first_ns(), shape(a), shape(b)))
    }

    /// A step in words that say all of it.
    fn words(&self, step: &Step) -> String {
        match step {
            Step::Block(block) => format!(
                "a block of {} with {} frames from the frame {} on",
                self.lane(block.source, block.lane),
                block.frames.len(),
                block.first_frame
            ),
            Step::Gaps(source, lane, gaps) => {
                format!(
                    "at the end of {}: {}",
                    self.lane(*source, *lane),
                    gaps_text(gaps)
                )
            }
            Step::Alert(alert) => format!("{}: {}", self.rule(alert.rule), alert_text(alert)),
            Step::States(states) => format!("{states:?}"),
            Step::Event(event) => event_text(event),
        }
    }

    fn source(&self, source: SourceId) -> String {
        let table = self.tables.get(usize::from(source.0));
        table.map_or_else(
            || format!("source {}", source.0),
            |table| table.name.clone(),
        )
    }

    fn lane(&self, source: SourceId, lane: u8) -> String {
        let table = self.tables.get(usize::from(source.0));
        match table.and_then(|table| table.layout.lanes.get(usize::from(lane))) {
            Some(layout) => {
                let kind = layout.label.as_deref().unwrap_or(layout.priority.name());
                format!("{} ({kind})", self.source(source))
            }
            None => format!("{}, lane {lane}", self.source(source)),
        }
    }

    fn channel(&self, source: SourceId, lane: u8, column: usize) -> String {
        let table = self.tables.get(usize::from(source.0));
        let name = table.and_then(|table| {
            let layout = table.layout.lanes.get(usize::from(lane))?;
            let channel = table.channels.get(*layout.columns.get(column)?)?;
            Some(format!("{}.{}", table.name, channel.name))
        });
        name.unwrap_or_else(|| format!("{}, column {column}", self.lane(source, lane)))
    }

    fn rule(&self, rule: usize) -> String {
        let name = self.rules.get(rule).copied().unwrap_or_default();
        format!("rule {name}")
    }
}

/// All of an alert, without its latency.
fn alert_text(alert: &Alert) -> String {
    let moved = &alert.moved;
    format!(
        "{} at {} by {:?} ({:016x}), frame {:?}, silenced {}, {:?}",
        moved.change.name(),
        rfc3339(moved.time_ns),
        moved.value,
        moved.value.to_bits(),
        alert.frame,
        moved.silenced,
        moved.state
    )
}

fn event_text(event: &Event) -> String {
    let (name, time) = (event.kind.name(), rfc3339(event.time_ns));
    format!("{name} at {time}: {}", event.kind)
}

fn gaps_text(gaps: &[Gap]) -> String {
    let texts = gaps.iter().map(|gap| {
        let frames = gap
            .frames
            .map_or_else(|| "?".to_owned(), |frames| frames.to_string());
        format!(
            "{frames} frames missing ({}) before {} from {} to {}",
            gap.reason.name(),
            gap.before,
            rfc3339(gap.from_ns),
            rfc3339(gap.to_ns)
        )
    });
    let texts: Vec<String> = texts.collect();
    if texts.is_empty() {
        return "no gaps".to_owned();
    }
    texts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::event::EventKind;
    use crate::pipeline::tables::tables;

    const LAB: &str = r#"
[source.imu]
link = { type = "serial", path = "/dev/ttyUSB0", baud = 115200 }
protocol = { type = "lines" }
[[source.imu.channel]]
name = "x"
[[source.imu.channel]]
name = "y"
"#;

    fn block(values: &[f64], late_ns: i64) -> Step {
        let mut block = Block::unpooled(2, 8);
        for (frame, value) in (0_i64..).zip(values) {
            block.frames.push(0, &[*value, 0.5]);
            if let Some(time) = block.frames.ends_and_times_mut().1.last_mut() {
                *time = 1_000 * frame + late_ns;
            }
        }
        Step::Block(block)
    }

    fn gone(reason: &str) -> Step {
        Step::Event(Event {
            source: Some(SourceId(0)),
            time_ns: 5,
            kind: EventKind::Finished {
                reason: reason.to_owned(),
            },
        })
    }

    fn compared(first: Option<&Step>, second: Option<&Step>) -> Option<Difference> {
        let plan = parse("lab.toml", LAB).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let named = Named {
            tables: &tables(&plan),
            rules: Vec::new(),
        };
        named.compare(first, second)
    }

    fn hashed(steps: &[Step]) -> String {
        let mut hash = Hash::default();
        steps.iter().for_each(|step| hash.add(step));
        hash.text()
    }

    #[test]
    fn the_first_value_that_differs_is_named_with_its_channel_and_time() {
        let (a, b) = (block(&[1.0, 2.0, 3.0], 0), block(&[1.0, 2.5, 9.0], 0));
        assert_eq!(compared(Some(&a), Some(&a)), None);
        let found = compared(Some(&a), Some(&b)).unwrap();
        assert_eq!(found.what, "imu.x");
        assert_eq!(found.time, rfc3339(1_000));
        assert_eq!(
            (found.first.as_str(), found.second.as_str()),
            ("2.0", "2.5")
        );
        assert_ne!(hashed(&[a]), hashed(&[b]));
    }

    #[test]
    fn bits_are_compared_and_not_numbers() {
        let nan = block(&[f64::NAN], 0);
        assert_eq!(compared(Some(&nan), Some(&block(&[f64::NAN], 0))), None);
        let (plus, minus) = (block(&[0.0], 0), block(&[-0.0], 0));
        let found = compared(Some(&plus), Some(&minus)).unwrap();
        assert_eq!(
            (found.first.as_str(), found.second.as_str()),
            ("0.0", "-0.0")
        );
        assert_ne!(hashed(&[plus]), hashed(&[minus]));
    }

    #[test]
    fn times_lengths_events_and_what_is_missing_are_differences() {
        let (a, late, longer) = (block(&[1.0], 0), block(&[1.0], 1), block(&[1.0, 1.0], 0));
        let found = compared(Some(&a), Some(&late)).unwrap();
        assert_eq!(found.what, "imu (normal), time of the frame 0");
        let found = compared(Some(&a), Some(&longer)).unwrap();
        assert_eq!(found.second, "a block of 2 frames from the frame 0 on");
        let found = compared(Some(&gone("a")), Some(&gone("b"))).unwrap();
        assert_eq!(found.what, "imu");
        let found = compared(Some(&a), None).unwrap();
        assert_eq!(found.second, NOTHING);
        assert!(compared(None, Some(&gone("a"))).is_some());
        assert!(compared(Some(&a), Some(&gone("a"))).is_some());
        assert_eq!(compared(None, None), None);
        let hashes = [hashed(&[a]), hashed(&[late]), hashed(&[longer])];
        assert_ne!(hashes[0], hashes[1]);
        assert_ne!(hashes[0], hashes[2]);
        assert_ne!(hashed(&[gone("a")]), hashed(&[gone("b")]));
    }
}
