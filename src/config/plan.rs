//! The plan: a configuration that has been checked, with every default filled in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kymo_drivers::block::Priority;
use kymo_drivers::link;
use kymo_drivers::protocol;

use crate::acquire::{Commands, ReconnectOptions, TimeOptions};
use crate::alert::{RuleOptions, Silence};
use crate::capture;
use crate::compute::align::Alignment;
use crate::compute::window;
use crate::expression::Expression;
use crate::journal;
use crate::lanes::Overflow;
use crate::notify;
use crate::serve;
use crate::sink::SinkOptions;
use crate::stage::calibrate::Calibration;
use crate::store;

/// Everything a run does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The configuration's text, for the record.
    pub text: String,
    /// Where everything is kept. Relative paths are relative to the working directory.
    pub data_dir: PathBuf,
    /// Stop by itself after so long.
    pub duration: Option<Duration>,
    /// What is wanted of the host.
    pub host: Host,
    /// How the journal is kept.
    pub journal: journal::Options,
    /// How the store is kept; `None`: there is only the journal.
    pub store: Option<store::Options>,
    /// The devices to read, in the order of the configuration. At most [`SOURCES_MAX`].
    pub sources: Vec<Source>,
    /// The devices to simulate.
    pub simulators: Vec<kymo_simulators::Options>,
    /// What they play back.
    pub playbacks: Vec<Playback>,
    /// What is computed from the sources' channels.
    pub computed: Computed,
    /// The alert rules.
    pub rules: Vec<RuleOptions>,
    /// Who is told of alerts.
    pub notifiers: Vec<notify::Options>,
    /// When nobody is told of some rules.
    pub silences: Vec<Silence>,
    /// Where data are sent.
    pub sinks: Vec<SinkOptions>,
    /// How the live page is served, if it is.
    pub serve: Option<serve::Options>,
    /// How the bytes of the devices are recorded; none: they are not.
    pub capture: Option<Capture>,
    /// How they would be, if somebody asks for it.
    pub capture_options: Capture,
}

/// How the bytes of the devices are recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// The first file; none: one named after the run, in `dir`.
    pub file: Option<PathBuf>,
    /// The directory; none: `captures` in the data directory.
    pub dir: Option<PathBuf>,
    /// How files are written.
    pub writer: capture::Options,
    /// A chunk is ended and synced after so long: what a crash costs at most.
    pub chunk_interval: Duration,
    /// Bytes of each source that wait for the disk at most.
    pub buffer_bytes: usize,
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            file: None,
            dir: None,
            writer: capture::Options::default(),
            chunk_interval: Duration::from_secs(1),
            buffer_bytes: 16 << 20,
        }
    }
}

impl Plan {
    /// Keeps everything in another directory.
    pub fn move_to(&mut self, data_dir: &Path) {
        data_dir.clone_into(&mut self.data_dir);
        for simulator in &mut self.simulators {
            simulator.links = data_dir.join(DEVICES_DIR);
        }
    }
}

/// A column of a file that a simulated device plays back: to be read before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Playback {
    /// Which device: its place in [`Plan::simulators`].
    pub simulator: usize,
    /// Which of its channels.
    pub channel: usize,
    /// Which part of the channel's signal.
    pub part: usize,
    /// The file: CSV, or Parquet if that is how its name ends.
    pub file: PathBuf,
    /// The column's name.
    pub column: String,
}

/// What is wanted of the host, as far as it permits it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Readers and stage are scheduled in real time.
    pub realtime: bool,
    /// Processors of the readers; none: any.
    pub reader_cores: Vec<usize>,
    /// Processors of the stage; none: any.
    pub stage_cores: Vec<usize>,
    /// No page of the process leaves memory.
    pub lock_memory: bool,
}

/// Where, in the data directory, the simulated devices' links are.
pub const DEVICES_DIR: &str = "devices";

/// A source's number is a `u16`, and one value is kept free.
pub const SOURCES_MAX: usize = 65_535;

/// One device to read.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name: letters, digits, `_` and `-`.
    pub name: String,
    /// How its bytes come.
    pub link: Link,
    /// How they are decoded. One value a channel, in the order of `channels`.
    pub protocol: protocol::Options,
    /// What it is told when it was opened, and before it is left.
    pub commands: Commands,
    /// Its channels.
    pub channels: Vec<Channel>,
    /// Frames a second it should send, where that is known.
    pub rate_hz: Option<f64>,
    /// Bytes of one frame on the wire, where that is known: to compare rate and baud rate.
    pub frame_bytes: Option<usize>,
    /// What a full lane does.
    pub overflow: Overflow,
    /// Blocks that wait in each of its lanes at most.
    pub lane_blocks: usize,
    /// Frames in a block at most.
    pub block_frames: usize,
    /// How they are dated.
    pub time: TimeOptions,
    /// How long a frame waits in a block that is not full: 0 for a block per read.
    pub block_age: Duration,
    /// How a device that is gone is looked for.
    pub reconnect: ReconnectOptions,
    /// What is written down of it.
    pub keep: Keep,
}

/// What is written down of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Keep {
    /// Of what its device sends.
    pub raw: RawKeep,
    /// Whether the results of windows over it are.
    pub windows: bool,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            raw: RawKeep::All,
            windows: true,
        }
    }
}

/// What is written down of what a device sends.
#[derive(Debug, Clone, PartialEq)]
pub enum RawKeep {
    /// Everything.
    All,
    /// Nothing.
    Nothing,
    /// What is around alerts.
    Around {
        /// Of the time before a firing.
        before: Duration,
        /// Of the time after the alert is over.
        after: Duration,
        /// Whose alerts, by place in [`Plan::rules`].
        rules: Vec<usize>,
    },
}

/// How a source's bytes come.
#[derive(Debug, Clone, PartialEq)]
pub enum Link {
    /// From a device of this host.
    Device(link::Options),
    /// From the simulator of this name, as from a serial port with these options, whose path the
    /// pipeline fills in.
    Simulator {
        /// Its place in [`Plan::simulators`].
        simulator: usize,
        /// How its pseudo-terminal is opened.
        serial: link::serial::Options,
    },
}

/// One series of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Its name within the source: letters, digits, `_` and `-`.
    pub name: String,
    /// Its place in the protocol's frame. A raw channel has that of the channel beside which it is kept.
    pub place: usize,
    /// Its unit after calibration, UCUM; `"1"` if it has none.
    pub unit: String,
    /// Its priority: the source's, unless it has its own.
    pub priority: Priority,
    /// What becomes of the device's value.
    pub calibration: Calibration,
    /// How the protocol made its value out of an integer, where it did: `value = integer * scale + offset`.
    pub quantum: Option<(f64, f64)>,
}

/// What is computed. Sources are counted on: the first derived one comes behind the last that is read.
#[derive(Debug, Clone, Default)]
pub struct Computed {
    /// Sources without a device, in the order of the configuration.
    pub derived: Vec<Derived>,
    /// Windows, each over channels of one lane. Their results are channels of the source, behind its own, in this order.
    pub windows: Vec<Window>,
}

/// A source whose channels are expressions.
#[derive(Debug, Clone)]
pub struct Derived {
    /// Its name.
    pub name: String,
    /// How urgent its blocks are.
    pub priority: Priority,
    /// Its channels.
    pub channels: Vec<DerivedChannel>,
    /// When it has a frame.
    pub moments: DerivedMoments,
    /// What a channel is between two of its samples.
    pub alignment: Alignment,
    /// For how long, at most.
    pub hold: Duration,
    /// How long a silent source is waited for.
    pub lateness: Duration,
    /// Frames in a block at most.
    pub block_frames: usize,
    /// Frames a second, where that is known.
    pub rate_hz: Option<f64>,
}

/// When a derived source has a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DerivedMoments {
    /// With each frame of the lane that has this channel: source, channel.
    Channel(usize, usize),
    /// After every such time, counted from the epoch.
    Every(Duration),
}

/// A channel of a derived source.
#[derive(Debug, Clone)]
pub struct DerivedChannel {
    /// Its name.
    pub name: String,
    /// Its unit, UCUM.
    pub unit: String,
    /// Where its values come from.
    pub expression: Expression,
    /// `value = result * scale + offset`: from the expression's unit to the channel's.
    pub conversion: (f64, f64),
    /// The expression's inputs: source, channel.
    pub inputs: Vec<(usize, usize)>,
}

/// Windows over channels of one lane of a source.
#[derive(Debug, Clone)]
pub struct Window {
    /// Of which source.
    pub source: usize,
    /// Its name in the names of its results and its table.
    pub suffix: String,
    /// How urgent its results are.
    pub priority: Priority,
    /// The channels looked at, by their places in the source.
    pub inputs: Vec<usize>,
    /// What is made of each.
    pub options: window::Options,
    /// Its results: name and unit, for each input all statistics in order.
    pub channels: Vec<(String, String)>,
}
