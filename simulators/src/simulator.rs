//! The handle to a running device.
//!
//! What for: starting and stopping devices, and doing to them in tests what happens to real ones.
//!
//! What always holds: every method can be called from any thread, and none waits for a slow
//! reader, save a `replug` that was not called for: what takes that long is answered through a receiver. Dropping the handle stops the device
//! and removes its link.
//!
//! What it must not know: what its device sends.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::answerer::Answerer;
use crate::commands::Commands;
use crate::devices::{Answering, DEVICES, Device, Flood, POLLED, generic, kind, polled};
use crate::faults::Faults;
use crate::mailbox::{Command, Mailbox, Written};
use crate::pty::Pty;
use crate::runner::{Parts, Runner};
use crate::signal::Signal;
use crate::truth::{Log, VALUES_RATE_MAX_HZ, Values, quoted};
use crate::{Options, Truth};

/// A simulated device at work on a thread of its own.
#[derive(Debug)]
pub struct Simulator {
    link: PathBuf,
    rate_hz: f64,
    mailbox: Arc<Mailbox>,
    published: Arc<Mutex<Truth>>,
    thread: Option<JoinHandle<io::Result<Truth>>>,
}

impl Simulator {
    /// Opens the port, makes the link and starts the thread. The first frame leaves when a reader
    /// has opened the port.
    ///
    /// # Errors
    /// There is no such kind of device, the rate is not positive, the name is no file name, the truth log cannot be written, or the
    /// system refused.
    pub fn start(options: Options) -> io::Result<Self> {
        let device = Made::new(&options)?;
        let slow = 1.0 + options.drift_ppm * 1e-6;
        if !slow.is_finite() || slow <= 0.0 {
            let ppm = options.drift_ppm;
            return Err(invalid(format!("no clock is slow by {ppm} ppm")));
        }
        let port = Pty::open(&options.links, &options.name)?;
        let link = port.link().to_owned();
        let mailbox = Arc::new(Mailbox::new()?);
        let published: Arc<Mutex<Truth>> = Arc::default();
        let rate_hz = device.rate_hz();
        let log = log(&options, rate_hz)?;
        let faults = Faults::new(&options.faults, options.seed, slow);
        let commands = Commands::new(&options.commands);
        let thread = std::thread::Builder::new().name(options.name);
        let (our_mailbox, our_published) = (Arc::clone(&mailbox), Arc::clone(&published));
        let thread = match device {
            Made::Sending(device) => {
                let frames = [device.frames(), options.frames];
                let runner = Runner::new(Parts {
                    device,
                    slow,
                    port,
                    mailbox: our_mailbox,
                    when_full: options.when_full,
                    published: our_published,
                    faults,
                    log,
                    commands,
                    frames: frames.into_iter().flatten().min(),
                });
                thread.spawn(move || runner.run())?
            }
            Made::Answering(device) => {
                let answerer = Answerer::new(device, port, our_mailbox, our_published, faults, log);
                thread.spawn(move || answerer.run())?
            }
        };
        Ok(Self {
            link,
            rate_hz,
            mailbox,
            published,
            thread: Some(thread),
        })
    }

    /// The stable link to its port. While it is unplugged, nothing is there.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.link
    }

    /// Frames a second; infinity in a flood; 0 of a device that answers.
    #[must_use]
    pub fn rate_hz(&self) -> f64 {
        self.rate_hz
    }

    /// Whether its thread has ended before it was told to: [`Simulator::stop`] says why.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// What it has done so far; up to a chunk of frames may be in hand.
    #[must_use]
    pub fn truth(&self) -> Truth {
        // A count is whole whoever panicked while copying it.
        *self
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Falls silent, and its clock stands, once the frames in hand are written; the receiver then
    /// gets the truth. Bytes in the port stay there for the reader.
    ///
    /// To end a run of which every frame arrives: pause, wait for the truth, let the reader read on
    /// until it is quiet, stop.
    pub fn pause(&self) -> Receiver<Truth> {
        let (quiet, receiver) = channel();
        self.mailbox.post(Command::Pause(quiet));
        receiver
    }

    /// Goes on after [`Simulator::pause`] with the next frame number.
    pub fn resume(&self) {
        self.mailbox.post(Command::Resume);
    }

    /// Hangs up: the reader loses what it had not yet read, and the link is gone. The device's
    /// clock and counter go on.
    ///
    /// # Errors
    /// The system refused, or the device's thread has ended.
    pub fn unplug(&self) -> io::Result<()> {
        let (done, receiver) = channel();
        self.mailbox.post(Command::Unplug(done));
        receiver.recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Comes back after [`Simulator::unplug`] under another number, behind the same link. If it is
    /// not unplugged, nothing happens, but it waits for the frames in hand to be written.
    ///
    /// # Errors
    /// The system refused, or the device's thread has ended.
    pub fn replug(&self) -> io::Result<()> {
        let (done, receiver) = channel();
        self.mailbox.post(Command::Replug(done));
        receiver.recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Sends these bytes between two frames.
    pub fn inject(&self, bytes: impl Into<Vec<u8>>) {
        self.mailbox.post(Command::Inject(bytes.into()));
    }

    /// Leaves out so many frame numbers, as a device does that lost samples itself; a device that answers leaves so
    /// many requests unanswered.
    pub fn skip(&self, frames: u64) {
        self.mailbox.post(Command::Skip(frames));
    }

    /// Flips a bit in the middle of each of the next frames.
    pub fn corrupt_next(&self, frames: u64) {
        self.mailbox.post(Command::Corrupt(frames));
    }

    /// A device that answers does so, the next times, as if it were another: a well-formed answer that nobody asked for.
    pub fn disguise_next(&self, answers: u64) {
        self.mailbox.post(Command::Wrong(answers));
    }

    /// A device that answers does so, the next times, so much later.
    pub fn delay_next(&self, answers: u64, by: Duration) {
        self.mailbox.post(Command::Late(answers, by));
    }

    /// Holds what is measured at a level from the next frame on, or lets it go; the receiver is
    /// told when that frame left. Latency is measured from there.
    ///
    /// The receiver is hung up on without an answer if the device has no level to hold (only the
    /// pressure interlock, outside a flood, has), if the frame was lost, or at the next call.
    pub fn set_level(&self, level: Option<f64>) -> Receiver<Written> {
        let (watch, receiver) = channel();
        self.mailbox.post(Command::Level(level, watch));
        receiver
    }

    /// Stops at once, hangs up, removes the link, and says what was done. What is still in the port
    /// dies with it: see [`Simulator::pause`] for an end without loss.
    ///
    /// # Errors
    /// What ended the thread before its time: the system refused a call.
    ///
    /// # Panics
    /// If the thread did.
    pub fn stop(mut self) -> io::Result<Truth> {
        match self.join() {
            Some(Ok(truth)) => truth,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => unreachable!("the thread is joined here or in `drop`, which comes after"),
        }
    }

    /// Orders it to stop without waiting for that: of many each takes a while to give its port back.
    pub fn begin_stop(&self) {
        self.mailbox.post(Command::Stop);
    }

    fn join(&mut self) -> Option<std::thread::Result<io::Result<Truth>>> {
        self.mailbox.post(Command::Stop);
        self.thread.take().map(JoinHandle::join)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // Whoever wants to know how it ended calls `stop`.
        let _ = self.join();
    }
}

/// A device that has been made.
enum Made {
    Sending(Box<dyn Device>),
    Answering(Box<dyn Answering>),
}

impl Made {
    fn new(options: &Options) -> io::Result<Self> {
        if let Some(declared) = &options.generic {
            if declared.channels.is_empty() {
                return Err(invalid(
                    "a device without a channel measures nothing".to_owned(),
                ));
            }
            let parts = declared.channels.iter().flat_map(|channel| &channel.signal);
            let is_empty = |part: &Signal| matches!(part, Signal::Playback { values, .. } if values.is_empty());
            if parts.into_iter().any(is_empty) {
                return Err(invalid("there is nothing to play back".to_owned()));
            }
            let rate_hz = positive(options.rate_hz.unwrap_or(generic::RATE_HZ))?;
            let (declared, seed) = (declared.clone(), options.seed);
            return Ok(if declared.is_asked() {
                Self::Answering(Box::new(generic::Answerer::new(declared, rate_hz, seed)))
            } else {
                Self::Sending(Box::new(generic::Sender::new(declared, rate_hz, seed)))
            });
        }
        if let Some(kind) = polled(&options.device) {
            return Ok(Self::Answering((kind.make)(options.seed)));
        }
        let kind = kind(&options.device).ok_or_else(|| {
            let streaming = DEVICES.iter().map(|kind| kind.name);
            let names: Vec<&str> = streaming
                .chain(POLLED.iter().map(|kind| kind.name))
                .collect();
            let (asked, known) = (&options.device, names.join(", "));
            invalid(format!("no simulated device {asked:?}; there are {known}"))
        })?;
        let rate_hz = positive(options.rate_hz.unwrap_or(kind.rate_hz))?;
        Ok(Self::Sending(if rate_hz.is_infinite() {
            Box::new(Flood::new(kind, options.seed))
        } else {
            (kind.make)(rate_hz, options.seed)
        }))
    }

    /// 0 of one that answers.
    fn rate_hz(&self) -> f64 {
        match self {
            Self::Sending(device) => device.rate_hz(),
            Self::Answering(_) => 0.0,
        }
    }
}

fn positive(rate_hz: f64) -> io::Result<f64> {
    if rate_hz.is_nan() || rate_hz <= 0.0 {
        return Err(invalid(format!("a rate of {rate_hz} Hz is not positive")));
    }
    Ok(rate_hz)
}

/// The truth log, if one is wanted.
fn log(options: &Options, rate_hz: f64) -> io::Result<Option<Log>> {
    let Some(wanted) = &options.truth else {
        return Ok(None);
    };
    let with_values = wanted.values.unwrap_or(rate_hz <= VALUES_RATE_MAX_HZ);
    let values = (with_values && rate_hz > 0.0).then(|| -> Values {
        let options = options.clone();
        Box::new(move |index, row| row.extend((0..).map_while(|place| options.sent(place, index))))
    });
    // JSON has no infinity: of a flood the rate is null.
    let rate_hz = crate::truth::number(rate_hz);
    let (name, device) = (quoted(&options.name), quoted(&options.device));
    let (seed, ppm) = (options.seed, options.drift_ppm);
    let head = format!(
        "\"name\":{name},\"device\":{device},\"rate_hz\":{rate_hz},\"seed\":{seed},\"drift_ppm\":{ppm}"
    );
    Log::create(&wanted.file, head, values).map(Some)
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

fn ended() -> io::Error {
    io::Error::other("the device's thread has ended")
}
