//! What the stage hands on: blocks and events to the journal, and news to whoever looks on.

use std::sync::Arc;
use std::time::Duration;

use kymo_drivers::block::{Block, Gap, GapReason, Priority, SourceId};
use serde_json::{Value, json};

use super::Names;
use super::tell::Tell;
use crate::alert::{Alert, RuleMemory, SilenceMemory};
use crate::capture::recording::EventTap;
use crate::clock::{Clock, rfc3339};
use crate::event::{Event, EventKind};
use crate::journal::{self, RefusedWhy};
use crate::notify::Told;
use crate::stage::Recorder;

/// Something to be shown or told to somebody.
#[derive(Debug, Clone)]
pub enum Notice {
    /// An alert fired or cleared.
    Alert(Alert),
    /// Something happened to a source or to the host.
    Event(Event),
    /// What a notifier has to say, in one line.
    Line(String),
    /// Nothing: sent to wake whoever waits for notices.
    Wake,
}

pub(super) struct JournalRecorder {
    pub(super) journal: journal::Sender,
    pub(super) notices: flume::Sender<Notice>,
    pub(super) names: Arc<Names>,
    pub(super) tell: Tell,
    pub(super) clock: Clock,
    /// Gaps without a block, for which there was no room yet.
    pub(super) late: Vec<Block>,
    /// The capture, if one is recorded.
    pub(super) capture: Option<EventTap>,
    /// It takes everything, however long the disk takes: what is replayed can wait.
    pub(super) waits: bool,
}

/// How long to wait for the disk before looking again.
const LOOK: Duration = Duration::from_micros(200);

impl JournalRecorder {
    fn append_event(&mut self, source: Option<SourceId>, time_ns: i64, text: &Value) {
        let json = text.to_string();
        if let Some(capture) = &self.capture {
            capture.put(time_ns, &json);
        }
        let event = journal::Event {
            source: source.map(|source| source.0),
            time_ns,
            json,
        };
        while self.waits && !self.journal.has_room_for_event() {
            std::thread::park_timeout(LOOK);
        }
        // An event for which there is no room is counted by the journal.
        let _ = self.journal.try_append_event(event);
    }

    fn append_gaps(&mut self, block: Block) {
        if let Err(refused) = self.journal.try_append_block(block)
            && refused.why == RefusedWhy::Full
        {
            self.late.push(refused.block);
        }
    }

    /// Hands over what is still late, however long the disk takes; then the sender's work is done.
    pub(super) fn finish(mut self) -> journal::Sender {
        for block in std::mem::take(&mut self.late) {
            while !self.journal.has_room(block.priority) {
                std::thread::park_timeout(Duration::from_millis(1));
            }
            self.append_gaps(block);
        }
        self.journal
    }
}

impl Recorder for JournalRecorder {
    fn has_room(&self, priority: Priority) -> bool {
        self.waits || self.journal.has_room(priority)
    }

    fn record(&mut self, block: Block) -> Result<(), (Block, GapReason)> {
        while self.waits && !self.journal.has_room(block.priority) {
            std::thread::park_timeout(LOOK);
        }
        self.journal.try_append_block(block).map_err(|refused| {
            let reason = match refused.why {
                RefusedWhy::Full => GapReason::JournalFull,
                RefusedWhy::Failed => GapReason::JournalFailed,
            };
            (refused.block, reason)
        })
    }

    fn record_gaps(&mut self, source: SourceId, lane: u8, priority: Priority, gaps: &[Gap]) {
        let mut block = Block::unpooled(self.names.lane_columns(source, lane), 0);
        (block.source, block.lane, block.priority) = (source, lane, priority);
        block.gaps.extend_from_slice(gaps);
        self.append_gaps(block);
    }

    fn record_alert(&mut self, alert: &Alert) {
        let names = Arc::clone(&self.names);
        let rule = &names.rules[alert.rule];
        let (options, moved) = (&rule.options, &alert.moved);
        let message = rule.message(moved);
        let latency_us = |until_ns: i64| until_ns.saturating_sub(alert.read_ns) as f64 / 1e3;
        let mut text = json!({
            "event": "alert",
            "rule": options.name,
            "kind": options.kind.name(),
            "change": moved.change.name(),
            "severity": options.severity.name(),
            "channel": rule.channel,
            "value": moved.value,
            "limit": options.kind.limit(),
            "unit": options.kind.unit(&rule.unit),
            "time": rfc3339(moved.time_ns),
            "frame": alert.frame,
            "latency_us": latency_us(alert.seen_ns),
            "message": message,
            "silenced": moved.silenced,
            "state": moved.state,
            "notify": self.tell.wanting(options, moved),
        });
        if !options.labels.is_empty() {
            let labels = options.labels.iter();
            text["labels"] = labels
                .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
                .collect::<serde_json::Map<_, _>>()
                .into();
        }
        // Told first, written down second: the interlock is more urgent than its record.
        let told = self.tell.tell(options, moved, &text);
        let _ = self.notices.try_send(Notice::Alert(*alert));
        let source = SourceId(u16::try_from(options.source).unwrap_or(u16::MAX));
        self.append_event(Some(source), moved.time_ns, &text);
        for report in told {
            let now_ns = self.clock.now_ns();
            let (event, why) = match (report.told, report.is_interlock) {
                (Told::Done, _) => ("interlock", None),
                (Told::Failed(why), true) => ("interlock_failed", Some(why)),
                (Told::Failed(why), false) => ("notify_failed", Some(why)),
            };
            let text = json!({
                "event": event,
                "notifier": report.notifier,
                "rule": options.name,
                "time": rfc3339(now_ns),
                "latency_us": latency_us(now_ns),
                "text": why.unwrap_or_else(|| format!("{} told of {}", report.notifier, options.name)),
            });
            self.append_event(Some(source), now_ns, &text);
        }
    }

    fn record_silence(&mut self, silence: &SilenceMemory, time_ns: i64) {
        let text = json!({
            "event": "silence",
            "rule": silence.rule,
            "time": rfc3339(time_ns),
            "silence": silence,
            "text": format!("silent until {}", rfc3339(silence.to_ns)),
        });
        self.append_event(None, time_ns, &text);
    }

    fn record_states(&mut self, states: &[(String, RuleMemory)], time_ns: i64) {
        let rules = states
            .iter()
            .map(|(rule, state)| (rule.clone(), json!(state)));
        let text = json!({
            "event": "alert_states",
            "time": rfc3339(time_ns),
            "rules": rules.collect::<serde_json::Map<_, _>>(),
        });
        self.append_event(None, time_ns, &text);
    }

    fn record_event(&mut self, event: &Event) {
        let mut text = json!({
            "event": event.kind.name(),
            "source": event.source.map(|source| self.names.source(source)),
            "time": rfc3339(event.time_ns),
            "text": event.kind.to_string(),
        });
        if let EventKind::Annotation { who, noted_ns, .. } = &event.kind {
            text["who"] = who.as_str().into();
            text["noted"] = rfc3339(*noted_ns).into();
        }
        let _ = self.notices.try_send(Notice::Event(event.clone()));
        self.append_event(event.source, event.time_ns, &text);
    }
}
