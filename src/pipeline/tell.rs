//! Who is told of an alert where it is raised, and the lines back to devices.
//!
//! **Always holds.** A line goes out on the thread that raises the alert, if the device takes it at once. If it does
//! not, or is not there, a thread of that device's own waits for it, for [`LINE_PATIENCE`] at most, and later lines to
//! the same device wait behind it: no other device's does, and the stage does not. A line that did not go out is an
//! event.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kymo_drivers::block::SourceId;
use kymo_drivers::link::{Outlet, SendError, Stop};
use serde_json::Value;

use super::Notice;
use crate::alert::{Moved, RuleOptions};
use crate::clock::Clock;
use crate::config::plan::Plan;
use crate::event::{EventKind, EventSender};
use crate::notify::{self, Direct, Made, Message, Told, World};

/// So long a line waits for its device.
const LINE_PATIENCE: Duration = Duration::from_secs(5);
/// One write waits for the device at most, so that the end of a run is seen.
const WRITE: Duration = Duration::from_millis(200);
/// How often it is looked whether a device is there.
const LOOK: Duration = Duration::from_millis(5);
/// Lines that wait for a device at most.
const LINES_MAX: usize = 64;

/// Tells of alerts at once.
pub(super) struct Tell {
    notifiers: Vec<Notifier>,
    world: Here,
    host: String,
}

struct Notifier {
    options: notify::Options,
    /// If it acts at once.
    direct: Option<Box<dyn Direct>>,
}

/// Notifiers that follow the journal.
pub(super) type Durable = Vec<(notify::Options, Box<dyn notify::Deliver>)>;

/// What came of telling a notifier at once.
pub(super) struct Report {
    pub(super) notifier: String,
    pub(super) is_interlock: bool,
    pub(super) told: Told,
}

impl Tell {
    /// The notifiers of a plan, and those of them that follow the journal.
    pub(super) fn new(
        plan: &Plan,
        outlets: &[Outlet],
        notices: flume::Sender<Notice>,
        (events, clock, stop): (&EventSender, &Clock, &Stop),
        host: String,
    ) -> (Self, Durable) {
        let (mut notifiers, mut durable) = (Vec::new(), Vec::new());
        let mut lines = HashMap::new();
        for options in &plan.notifiers {
            // Its settings were tried when the configuration was read.
            let direct = match (options.kind.make)(&options.settings) {
                Ok(Made::Direct(direct)) => Some(direct),
                Ok(Made::Durable(deliver)) => {
                    durable.push((options.clone(), deliver));
                    None
                }
                Err(_) => None,
            };
            if options.kind.is_interlock {
                let source = options.settings.integer("source", u64::MAX);
                let source = usize::try_from(source).unwrap_or(usize::MAX);
                if let Some(outlet) = outlets.get(source) {
                    let watch = (source, events.clone(), clock.clone(), stop.clone());
                    lines
                        .entry(source)
                        .or_insert_with(|| LineOut::start(outlet.clone(), watch));
                }
            }
            notifiers.push(Notifier {
                options: options.clone(),
                direct,
            });
        }
        let tell = Self {
            notifiers,
            world: Here { notices, lines },
            host,
        };
        (tell, durable)
    }

    /// The notifiers that are to be told, by name.
    pub(super) fn wanting(&self, rule: &RuleOptions, moved: &Moved) -> Value {
        let wants = |n: &&Notifier| {
            let named = rule.notify.as_deref();
            n.options
                .wants(named, rule.severity, moved.change, moved.silenced)
        };
        let names = self.notifiers.iter().filter(wants);
        names
            .map(|n| Value::from(n.options.name.as_str()))
            .collect()
    }

    /// Tells those that act at once.
    pub(super) fn tell(&mut self, rule: &RuleOptions, moved: &Moved, event: &Value) -> Vec<Report> {
        let Self {
            notifiers,
            world,
            host,
        } = self;
        let mut reports = Vec::new();
        for notifier in notifiers {
            let Some(direct) = &mut notifier.direct else {
                continue;
            };
            let options = &notifier.options;
            let named = rule.notify.as_deref();
            if !options.wants(named, rule.severity, moved.change, moved.silenced) {
                continue;
            }
            let message = Message {
                event,
                id: "",
                host,
            };
            let told = direct.tell(&message, world);
            let is_interlock = options.kind.is_interlock;
            if is_interlock || told != Told::Done {
                reports.push(Report {
                    notifier: options.name.clone(),
                    is_interlock,
                    told,
                });
            }
        }
        reports
    }
}

/// What notifiers reach in this run.
struct Here {
    notices: flume::Sender<Notice>,
    /// By source.
    lines: HashMap<usize, LineOut>,
}

impl World for Here {
    fn show(&self, text: String) {
        // Nobody looks: nothing to show.
        let _ = self.notices.try_send(Notice::Line(text));
    }

    fn send(&self, source: usize, bytes: &[u8]) -> Result<(), String> {
        let line = self.lines.get(&source);
        line.ok_or_else(|| "there is no such source".to_owned())?
            .send(bytes)
    }
}

/// The way to one device.
struct LineOut {
    outlet: Outlet,
    queue: flume::Sender<Vec<u8>>,
    /// Lines that wait, the one in hand included.
    waiting: Arc<AtomicUsize>,
}

type Watch = (usize, EventSender, Clock, Stop);

impl LineOut {
    fn start(outlet: Outlet, watch: Watch) -> Self {
        let (queue, lines) = flume::bounded::<Vec<u8>>(LINES_MAX);
        let waiting = Arc::<AtomicUsize>::default();
        let thread = std::thread::Builder::new().name("kymo-line".to_owned());
        let (of_thread, counted) = (outlet.clone(), Arc::clone(&waiting));
        // Without the thread a line that does not go out at once is told of as one that did not.
        let _ = thread.spawn(move || {
            while let Ok(line) = lines.recv() {
                deliver(&of_thread, &line, &watch);
                // Release: the next line goes out behind this one.
                counted.fetch_sub(1, Ordering::Release);
            }
        });
        Self {
            outlet,
            queue,
            waiting,
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<(), String> {
        let mut rest = bytes;
        // Acquire: pairs with the release above.
        if self.waiting.load(Ordering::Acquire) == 0 {
            match self.outlet.send_now(bytes) {
                Ok(()) => return Ok(()),
                Err(SendError::TimedOut { written, .. }) => rest = &bytes[written..],
                Err(SendError::NotConnected) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.queue.try_send(rest.to_vec()).map_err(|_| {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            format!("{LINES_MAX} lines wait for this device already")
        })
    }
}

/// Sends a line as soon as the device takes it.
fn deliver(outlet: &Outlet, line: &[u8], (source, events, clock, stop): &Watch) {
    let until = Instant::now() + LINE_PATIENCE;
    let mut rest = line;
    let reason = loop {
        let error = match outlet.send(rest, WRITE) {
            Ok(()) => return,
            Err(error) => error,
        };
        if let SendError::TimedOut { written, .. } = error {
            rest = &rest[written..];
        }
        let is_final = !matches!(error, SendError::TimedOut { .. } | SendError::NotConnected);
        if is_final || Instant::now() >= until || stop.wait(LOOK) {
            break error.to_string();
        }
    };
    let what = format!("the line of an alert ({} bytes)", line.len());
    let source = u16::try_from(*source).ok().map(SourceId);
    events.send(source, clock.now_ns(), EventKind::NotSent { what, reason });
}
