//! The stage: drains the lanes, the most urgent first, and does with each block what must be done
//! before it is written down: calibrate, look, judge.
//!
//! **Always holds.** One block is in hand at a time. A block leaves the stage into the recorder, or is
//! counted as dropped. Rules see every sample of a lane in order. While the recorder has no room for a
//! priority, its lanes are left alone, and fill, and do as their overflow policy says; only critical
//! blocks are judged all the same, and dropped if there is no room: an alert does not wait for a disk.
//! In the steady state nothing is allocated, and no lock is taken.
//!
//! **Must not know.** Files, devices, HTTP; who records and who is told of alerts.

mod alerts;
mod board;
pub mod calibrate;
pub mod computed;
mod keep;
mod recorded;
mod results;
pub mod statistics;
pub mod thermocouple;

use std::sync::{Arc, Mutex};

use kymo_drivers::block::{Block, Gap, GapReason, Priority, SourceId};

use crate::alert::{Alert, RuleMemory, RuleOptions, SilenceMemory};
use crate::clock::Clock;
use crate::event::Event;
use crate::lanes::{Intake, Item, carry};
use crate::latency::{Latency, Summary};
use crate::ledger::Ledger;

pub use alerts::{AlertSetup, RuleCounts};
use alerts::{Alerts, LaneRule};
pub use board::{ChannelBoard, Shown};
use calibrate::Calibration;
use computed::{Computed, ComputedCounts, ComputedOptions};
use keep::Keeper;
pub use keep::{AroundOptions, Keep};
use recorded::Recorded;
use statistics::{Running, summarize};

/// Whoever takes the blocks that the stage is done with.
pub trait Recorder: Send {
    /// Whether a block of this priority would be taken now.
    fn has_room(&self, priority: Priority) -> bool;

    /// Takes a block, or gives it back for want of room.
    ///
    /// # Errors
    /// The block itself, with the reason why it was not taken.
    fn record(&mut self, block: Block) -> Result<(), (Block, GapReason)>;

    /// Takes gaps that no block follows.
    fn record_gaps(&mut self, source: SourceId, lane: u8, priority: Priority, gaps: &[Gap]);

    /// Takes a change of an alert.
    fn record_alert(&mut self, alert: &Alert);

    /// Takes a silence that somebody declared, or took back.
    fn record_silence(&mut self, _silence: &SilenceMemory, _time_ns: i64) {}

    /// Takes where the rules stand at the end.
    fn record_states(&mut self, _states: &[(String, RuleMemory)], _time_ns: i64) {}

    /// Takes what happened to a source.
    fn record_event(&mut self, event: &Event);
}

/// A channel as the stage knows it.
#[derive(Debug, Clone)]
pub struct ChannelOptions {
    /// The lane it is in.
    pub lane: u8,
    /// What becomes of the device's value. A cold junction's place counts within the source.
    pub calibration: Calibration,
}

/// What a stage is made of.
pub struct StageOptions<R> {
    /// Where blocks come from.
    pub intake: Intake,
    /// The channels of every source, in order.
    pub sources: Vec<Vec<ChannelOptions>>,
    /// What is kept of each lane, by source; all of those that are not named.
    pub keep: Vec<Vec<Keep>>,
    /// The rules.
    pub rules: Vec<RuleOptions>,
    /// What else there is to be known of alerts.
    pub alerts: AlertSetup,
    /// What is computed, if anything is.
    pub computed: Option<ComputedOptions>,
    /// Where blocks go.
    pub recorder: R,
    /// Where drops are counted.
    pub ledger: Ledger,
    /// Where latencies are written about once a second, for whoever looks on.
    pub latencies: Arc<Mutex<StageLatencies>>,
    /// What the readers have to say.
    pub events: flume::Receiver<Event>,
    /// What time it is.
    pub clock: Clock,
}

/// Latencies so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct StageLatencies {
    /// From the read of a block to its being taken from its lane.
    pub read_to_stage: Summary,
    /// From the read of a sample to the change of an alert that it caused.
    pub read_to_alert: Summary,
}

/// What a stage leaves behind.
#[derive(Debug)]
pub struct Outcome<R> {
    /// Where the blocks went.
    pub recorder: R,
    /// From the read of a block to its being taken from its lane.
    pub read_to_stage: Latency,
    /// From the read of a sample to the change of an alert that it caused.
    pub read_to_alert: Latency,
    /// What each rule did, in order.
    pub alerts: Vec<RuleCounts>,
    /// What did not go right with what was computed.
    pub computed: ComputedCounts,
    /// Samples still in the lanes when the stage ended: 0 after a clean stop.
    pub in_flight: u64,
}

/// One lane's channels, ready for its blocks.
#[derive(Debug, Default)]
struct LaneWork {
    columns: Vec<ColumnWork>,
    /// In which order to calibrate: cold junctions before what needs them.
    order: Vec<usize>,
    /// What the recorder refused, to travel with the lane's next block.
    lost: Vec<Gap>,
    /// Of whatever is in `lost`.
    priority: Option<Priority>,
    /// Rules over conditions that look at this lane.
    rules: Vec<LaneRule>,
    /// What is kept of it.
    keep: Keeper,
}

#[derive(Debug)]
struct ColumnWork {
    calibration: Calibration,
    running: Running,
    rules: Vec<usize>,
    board: Arc<ChannelBoard>,
}

/// The stage. [`Stage::run`] is its life.
pub struct Stage<R> {
    intake: Intake,
    /// By source, then lane.
    lanes: Vec<Vec<LaneWork>>,
    /// Lanes that are kept around alerts, by source and number.
    around: Vec<(usize, usize)>,
    /// Whether more of a priority is held for the journal than is held in peace.
    crowded: [bool; Priority::ALL.len()],
    alerts: Alerts,
    /// Made on the stage's own thread, from what is wanted.
    computed: Option<Computed>,
    wanted: Option<ComputedOptions>,
    recorder: R,
    ledger: Ledger,
    events: flume::Receiver<Event>,
    clock: Clock,
    read_to_stage: Latency,
    latencies: Arc<Mutex<StageLatencies>>,
    /// When they are written next, ns.
    publish_ns: i64,
    /// What it needs to follow recordings, if it does.
    recorded: Option<Recorded>,
}

/// Latencies are written for others so often, ns: to sum a histogram up takes some tens of microseconds.
const PUBLISH_NS: i64 = 1_000_000_000;

/// Blocks handled before the runtime is let through to its other tasks: some tens of microseconds.
const BLOCKS_PER_TURN: usize = 64;

impl<R: Recorder> Stage<R> {
    /// A stage, and its channels' boards by source.
    #[must_use]
    pub fn new(options: StageOptions<R>) -> (Self, Vec<Vec<Arc<ChannelBoard>>>) {
        let mut boards = Vec::with_capacity(options.sources.len());
        let mut lanes = Vec::with_capacity(options.sources.len());
        for (source, channels) in options.sources.iter().enumerate() {
            let source_boards: Vec<Arc<ChannelBoard>> =
                channels.iter().map(|_| Arc::default()).collect();
            lanes.push(lane_work(source, channels, &options.rules, &source_boards));
            boards.push(source_boards);
        }
        let mut alerts = Alerts::new(&options.rules, options.alerts, &options.clock);
        let lane_of = |(source, channel): (usize, usize)| {
            let channels = &options.sources[source];
            let lane = channels[channel].lane;
            let before = channels[..channel].iter();
            (lane, before.filter(|c| c.lane == lane).count())
        };
        for ((source, lane), rule) in alerts.join_lanes(lane_of, &options.clock) {
            lanes[source][usize::from(lane)].rules.push(rule);
        }
        let mut around = Vec::new();
        for (source, keeps) in options.keep.iter().enumerate() {
            for (number, keep) in keeps.iter().enumerate() {
                let keeper = Keeper::new(keep);
                if matches!(keeper, Keeper::Around(_)) {
                    around.push((source, number));
                }
                lanes[source][number].keep = keeper;
            }
        }
        if !around.is_empty() {
            alerts.follow_moves();
        }
        let mut stage = Self {
            intake: options.intake,
            lanes,
            around,
            crowded: [false; Priority::ALL.len()],
            alerts,
            computed: None,
            wanted: options.computed,
            recorder: options.recorder,
            ledger: options.ledger,
            events: options.events,
            clock: options.clock,
            read_to_stage: Latency::default(),
            latencies: options.latencies,
            publish_ns: i64::MIN,
            recorded: None,
        };
        // Alerts that an earlier run left.
        stage.note_alerts();
        (stage, boards)
    }

    /// Handles blocks until every lane is closed and empty.
    pub async fn run(mut self) -> Outcome<R> {
        match self.recorded.take() {
            Some(recorded) => self.follow(recorded).await,
            None => self.drain().await,
        }
        let computed = self.finish_computed();
        self.finish_held();
        self.record_lost();
        self.alerts.finish(&self.clock, &mut self.recorder);
        Outcome {
            computed,
            in_flight: self.intake.count_and_discard(),
            recorder: self.recorder,
            read_to_stage: self.read_to_stage,
            read_to_alert: self.alerts.latency,
            alerts: self.alerts.tally.counts,
        }
    }

    /// The life of a run's stage: what is most urgent first.
    async fn drain(&mut self) {
        loop {
            let mut is_drained = false;
            for _ in 0..BLOCKS_PER_TURN {
                let (recorder, computed) = (&self.recorder, self.computed.as_ref());
                let crowded = self.crowded;
                match self
                    .intake
                    .next(|priority| admits(recorder, computed, crowded, priority))
                {
                    Some(Item::Block(block)) => self.handle(block),
                    Some(Item::End {
                        source,
                        lane,
                        priority,
                        gaps,
                    }) => {
                        self.end_lane(source, lane, priority, &gaps);
                    }
                    None => {
                        is_drained = true;
                        break;
                    }
                }
            }
            self.alerts.obey(&self.clock, &mut self.recorder);
            self.alerts
                .look_at_time(is_drained, &self.clock, &mut self.recorder);
            self.tick_computed(is_drained);
            self.note_alerts();
            self.hand_on_all_held();
            self.publish();
            while let Ok(event) = self.events.try_recv() {
                self.recorder.record_event(&event);
            }
            if self.intake.is_finished() {
                break;
            }
            let (recorder, computed) = (&self.recorder, self.computed.as_ref());
            let (events, alerts) = (&self.events, &self.alerts);
            let crowded = self.crowded;
            let patience = [alerts.patience(&self.clock), self.computed_patience()];
            self.intake
                .wait_at_most(
                    patience.into_iter().flatten().min(),
                    |priority| admits(recorder, computed, crowded, priority),
                    || {
                        !events.is_empty()
                            || alerts.has_orders()
                            || computed.is_some_and(Computed::has_results)
                    },
                )
                .await;
            tokio::task::consume_budget().await;
        }
    }

    /// Runs the stage on a thread of its own, on a current-thread runtime: measured 10 µs from a
    /// reader's push to the stage's next instruction, against some 20 µs on a runtime with workers.
    ///
    /// # Errors
    /// If the system gives no thread or no event queue.
    pub fn start(self) -> std::io::Result<std::thread::JoinHandle<Outcome<R>>>
    where
        R: 'static,
    {
        self.start_with(|| ())
    }

    /// As [`Stage::start`], on a thread that prepares itself first.
    ///
    /// # Errors
    /// If the system gives no thread or no event queue.
    pub fn start_with(
        mut self,
        prepare: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<std::thread::JoinHandle<Outcome<R>>>
    where
        R: 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        if let Some(wanted) = self.wanted.take() {
            self.computed = Some(if self.recorded.is_some() {
                Computed::alone(wanted)
            } else {
                Computed::start(wanted, self.intake.gate())?
            });
        }
        let thread = std::thread::Builder::new().name("kymo-stage".to_owned());
        thread.spawn(move || {
            prepare();
            runtime.block_on(self.run())
        })
    }

    /// Writes the latencies for whoever looks on, if it is time and nobody reads them just now.
    fn publish(&mut self) {
        let now_ns = self.clock.now_ns();
        if now_ns < self.publish_ns {
            return;
        }
        if let Ok(mut latencies) = self.latencies.try_lock() {
            self.publish_ns = now_ns.saturating_add(PUBLISH_NS);
            latencies.read_to_stage = self.read_to_stage.summary();
            latencies.read_to_alert = self.alerts.latency.summary();
        }
    }

    fn handle(&mut self, block: Block) {
        let taken_ns = self.clock.now_ns();
        self.read_to_stage.record_ns(block.read_ns, taken_ns);
        self.pass(block);
        if self.computed.is_some() {
            self.take_computed();
        }
    }

    /// Calibrates a block, looks at it, and hands it on.
    fn pass(&mut self, mut block: Block) {
        let source = usize::from(block.source.0);
        let Some(lane) = self
            .lanes
            .get_mut(source)
            .and_then(|l| l.get_mut(usize::from(block.lane)))
        else {
            unreachable!("a block comes from a lane that was built from the same plan");
        };
        for &column in &lane.order {
            lane.columns[column]
                .calibration
                .apply(&mut block.frames, column);
        }
        let frames = block.frames.len();
        if frames > 0 {
            let last_ns = block.time_ns(frames - 1);
            for (place, column) in lane.columns.iter_mut().enumerate() {
                let values = block.frames.column(place);
                let summary = summarize(values);
                column.running.add(frames as u64, &summary);
                column
                    .board
                    .show(values[frames - 1], last_ns, &column.running);
                if !column.rules.is_empty() {
                    self.alerts.look(
                        &column.rules,
                        &block,
                        (place, &summary),
                        &self.clock,
                        &mut self.recorder,
                    );
                }
            }
        }
        if frames > 0 && !lane.rules.is_empty() {
            self.alerts
                .join(&lane.rules, &block, &self.clock, &mut self.recorder);
        }
        if let Some(computed) = &mut self.computed {
            computed.feed(&block);
        }
        if !self.around.is_empty() {
            self.note_alerts();
        }
        self.hand_on(block);
    }

    /// Writes a block down, behind what its lane lost before it.
    fn record(&mut self, mut block: Block) {
        let lane = &mut self.lanes[usize::from(block.source.0)][usize::from(block.lane)];
        if !lane.lost.is_empty() {
            block.gaps.splice(0..0, lane.lost.drain(..));
        }
        if let Err((block, reason)) = self.recorder.record(block) {
            self.lose(&block, reason);
        }
    }

    /// Gives a block up.
    fn lose(&mut self, block: &Block, reason: GapReason) {
        let lane = &mut self.lanes[usize::from(block.source.0)][usize::from(block.lane)];
        lane.lose(block, reason);
        self.ledger
            .source(block.source)
            .add_dropped(reason, block.frames.samples());
    }

    /// A lane has ended: its last gaps stand behind whatever is still held of it.
    fn end_lane(&mut self, source: SourceId, number: u8, priority: Priority, gaps: &[Gap]) {
        let lanes = self.lanes.get_mut(usize::from(source.0));
        match lanes.and_then(|lanes| lanes.get_mut(usize::from(number))) {
            Some(lane) if !matches!(lane.keep, Keeper::All) => {
                lane.priority = Some(priority);
                for gap in gaps {
                    carry(&mut lane.lost, *gap);
                }
            }
            _ => self.recorder.record_gaps(source, number, priority, gaps),
        }
    }

    /// Hands on what was refused and had no block behind it to travel with.
    fn record_lost(&mut self) {
        for (source, lanes) in (0..).zip(&mut self.lanes) {
            for (number, lane) in (0..).zip(lanes) {
                if let Some(priority) = lane.priority.filter(|_| !lane.lost.is_empty()) {
                    let gaps = std::mem::take(&mut lane.lost);
                    self.recorder
                        .record_gaps(SourceId(source), number, priority, &gaps);
                }
            }
        }
    }
}

impl LaneWork {
    /// Keeps the gap that a refused block leaves, and the gaps that it carried.
    fn lose(&mut self, block: &Block, reason: GapReason) {
        self.priority = Some(block.priority);
        for gap in &block.gaps {
            carry(&mut self.lost, *gap);
        }
        if let (Some(from_ns), Some(to_ns)) = (block.first_ns(), block.last_ns())
            && !block.frames.is_empty()
        {
            let frames = Some(block.frames.len() as u64);
            carry(
                &mut self.lost,
                Gap {
                    before: 0,
                    from_ns,
                    to_ns,
                    frames,
                    reason,
                },
            );
        }
    }
}

/// Critical blocks are judged even if they cannot be recorded; the others wait in their lanes.
fn admits(
    recorder: &impl Recorder,
    computed: Option<&Computed>,
    crowded: [bool; Priority::ALL.len()],
    priority: Priority,
) -> bool {
    let has_room = || recorder.has_room(priority) && !crowded[priority.index()];
    priority == Priority::Critical || (has_room() && computed.is_none_or(Computed::has_room))
}

/// The work on each lane of a source.
fn lane_work(
    source: usize,
    channels: &[ChannelOptions],
    rules: &[RuleOptions],
    boards: &[Arc<ChannelBoard>],
) -> Vec<LaneWork> {
    let mut lanes: Vec<LaneWork> = Vec::new();
    let count = channels
        .iter()
        .map(|c| usize::from(c.lane) + 1)
        .max()
        .unwrap_or(0);
    lanes.resize_with(count, LaneWork::default);
    // A channel's column within its lane is its place among the lane's channels.
    let column_of = |place: usize| {
        channels[..place]
            .iter()
            .filter(|c| c.lane == channels[place].lane)
            .count()
    };
    for (place, channel) in channels.iter().enumerate() {
        let mut calibration = channel.calibration.clone();
        if let Calibration::Thermocouple {
            cold_junction: Some(junction),
            ..
        } = &mut calibration
        {
            *junction = column_of(*junction);
        }
        let watching = |rule: &(usize, &RuleOptions)| rule.1.watches((source, place));
        lanes[usize::from(channel.lane)].columns.push(ColumnWork {
            calibration,
            running: Running::default(),
            rules: rules
                .iter()
                .enumerate()
                .filter(watching)
                .map(|(index, _)| index)
                .collect(),
            board: Arc::clone(&boards[place]),
        });
    }
    for lane in &mut lanes {
        let needs_other = |column: &usize| {
            let calibration = &lane.columns[*column].calibration;
            matches!(
                calibration,
                Calibration::Thermocouple {
                    cold_junction: Some(_),
                    ..
                }
            )
        };
        let calibrated =
            (0..lane.columns.len()).filter(|c| !lane.columns[*c].calibration.is_none());
        let (last, first): (Vec<_>, Vec<_>) = calibrated.partition(needs_other);
        lane.order = first.into_iter().chain(last).collect();
    }
    lanes
}
