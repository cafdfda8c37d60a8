//! Follows the journal and keeps the envelopes, in a thread of low urgency.
//!
//! **Always holds.** It costs the path of a sample nothing: it reads what is committed, and takes at most a quarter of a core's time. If
//! more comes than it can look at in that, it passes records over, counts them, and goes on with the newest.
//!
//! **Must not know.** Who looks at the envelopes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use super::scene::Scene;
use crate::journal::{self, DecodedBlock, DurableSeq, Filter, From, Kind, Next, Reader, Until};

/// How long it sleeps if there is nothing new: commits come every 100 ms.
const IDLE: Duration = Duration::from_millis(20);
/// Records looked at before it looks at the time.
const RECORDS_MAX: u64 = 64;
/// Records behind which it goes on with the newest: some seconds of a flood.
const BEHIND_MAX: u64 = 20_000;
/// For each unit of work so many of rest, if it is behind.
const REST: u32 = 3;

/// Lowers the urgency of the thread that calls. That it cannot be lowered changes nothing.
pub(super) fn be_nice() {
    const NICE: i32 = 10;
    // On Linux a thread's number stands for a process's here: setpriority(2), BUGS.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
}

pub(super) fn start(scene: Arc<Scene>) -> std::io::Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name("kymo-live".to_owned());
    thread.spawn(move || {
        be_nice();
        let columns = columns(&scene);
        let mut follower = Follower {
            durable: scene.setup.journal.durable_seq(),
            scene,
            columns,
            block: DecodedBlock::default(),
        };
        follower.run();
    })
}

/// The channel of each column, by source and lane.
type Columns = Vec<Vec<Vec<Option<usize>>>>;

fn columns(scene: &Scene) -> Columns {
    let mut columns: Columns = vec![Vec::new(); scene.setup.sources.len()];
    for (number, channel) in scene.setup.channels.iter().enumerate() {
        let (lane, column) = channel.place;
        let lanes = &mut columns[channel.source];
        if lanes.len() <= lane {
            lanes.resize_with(lane + 1, Vec::new);
        }
        if lanes[lane].len() <= column {
            lanes[lane].resize(column + 1, None);
        }
        lanes[lane][column] = Some(number);
    }
    columns
}

struct Follower {
    scene: Arc<Scene>,
    durable: DurableSeq,
    columns: Columns,
    block: DecodedBlock,
}

impl Follower {
    fn run(&mut self) {
        let mut reader: Option<Reader> = None;
        while !self.scene.is_stopping() {
            let found = match &mut reader {
                Some(reader) => self.read(reader),
                None => {
                    // From what is committed now: of this run there is nothing yet, or little.
                    reader = self.open(self.durable.get() + 1);
                    Ok(0)
                }
            };
            match found {
                Ok(0) => std::thread::park_timeout(IDLE),
                Ok(_) => self.scene.version.send_modify(|version| *version += 1),
                // A segment that was taken away, or a disk that fails: the run says so itself.
                Err(_) => {
                    reader = None;
                    std::thread::park_timeout(IDLE * 10);
                }
            }
            if let Some(open) = &reader {
                let behind = self.durable.get().saturating_sub(open.next_seq());
                if behind > BEHIND_MAX {
                    self.scene.skipped.fetch_add(behind, Ordering::Relaxed);
                    reader = None;
                }
            }
        }
    }

    fn open(&self, seq: u64) -> Option<Reader> {
        let dir = self.scene.setup.data_dir.join(journal::DIR);
        let until = Until::Durable(self.durable.clone());
        let filter = Filter {
            kinds: Some(vec![Kind::Block, Kind::Event]),
            sources: None,
        };
        Reader::open(&dir, From::Seq(seq), until, filter).ok()
    }

    /// Reads some records; how many, 0 if there is nothing new.
    fn read(&mut self, reader: &mut Reader) -> Result<u64, journal::Error> {
        let clock = self.scene.setup.clock.clone();
        let began_ns = clock.now_ns();
        for count in 0..RECORDS_MAX {
            let record = match reader.next()? {
                Next::Record(record) => record,
                Next::Lost(_) => continue,
                Next::End => return Ok(count),
            };
            match record.kind {
                Some(Kind::Block) => {
                    // One that cannot be read is the journal's business, and told by those who need it.
                    if self.block.decode(record.payload).is_ok() {
                        self.show();
                    }
                }
                Some(Kind::Event) => self.scene.event(record.source, record.payload),
                _ => {}
            }
        }
        let work = u64::try_from(clock.now_ns() - began_ns).unwrap_or(0);
        std::thread::park_timeout(Duration::from_nanos(work) * REST);
        Ok(RECORDS_MAX)
    }

    fn show(&self) {
        let summary = self.block.summary();
        let lanes = self.columns.get(usize::from(summary.source.0));
        let columns = lanes.and_then(|lanes| lanes.get(usize::from(summary.lane)));
        for (column, channel) in columns.into_iter().flatten().enumerate() {
            if let Some(channel) = channel
                && column < self.block.columns()
            {
                let values = self.block.column(column);
                self.scene
                    .pyramid(*channel)
                    .add(self.block.times_ns(), values);
            }
        }
    }
}
