//! Preparing the next segment beside the path of the data.
//!
//! The preparer makes a file under a temporary name and reserves its space before it is needed.
//! At a rotation the writer takes that file, goes on writing in it, and hands back the old one.
//! Only then, in this order: the old segment is synced, the new one is synced, renamed to its final name,
//! and the directory is synced. The writer reports nothing in the new segment as committed
//! before it is told that this is done.
//!
//! **Always holds.** A segment with a final name has a predecessor that is wholly on disk, and a
//! header that is. One file has the temporary name at most: made, taken, and published before the
//! next is made.
//!
//! **Must not know.** Records.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;

use super::error::Error;
use super::files::{Dir, Handle};
use super::segment::{self, NEXT_NAME};
use super::status::Shared;

/// How long the preparer waits before it tries again to make a file. Space comes back when the store or a person
/// removes something.
const RETRY: Duration = Duration::from_millis(250);

/// A segment the writer has gone over to, and the one it left.
pub(super) struct Publish {
    pub(super) old: Handle,
    pub(super) old_bytes: u64,
    pub(super) new: Handle,
    pub(super) first_seq: u64,
}

/// Between the writer and the preparer. The queues hand the files over; flags say how it stands.
pub(super) struct Rotation {
    ready: ArrayQueue<Handle>,
    publish: ArrayQueue<Publish>,
    /// First seq of the segment last published.
    published: AtomicU64,
    /// No next segment can be made for now; the reason is in `Shared`.
    is_blocked: AtomicBool,
    is_closing: AtomicBool,
    /// Publishing failed, or the thread died: nothing can be committed any more.
    failure: OnceLock<Arc<Error>>,
    writer: OnceLock<Thread>,
}

impl Rotation {
    pub(super) fn new() -> Self {
        Self {
            ready: ArrayQueue::new(1),
            publish: ArrayQueue::new(1),
            published: AtomicU64::new(0),
            is_blocked: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            failure: OnceLock::new(),
            writer: OnceLock::new(),
        }
    }

    /// Says whom to wake when something is done.
    pub(super) fn set_writer(&self, thread: Thread) {
        let _ = self.writer.set(thread);
    }

    pub(super) fn take_ready(&self) -> Option<Handle> {
        self.ready.pop()
    }

    /// # Panics
    /// If a segment is still being published: the writer waits for that first.
    pub(super) fn hand_over(&self, publish: Publish) {
        assert!(
            self.publish.push(publish).is_ok(),
            "one segment is published at a time"
        );
    }

    pub(super) fn is_published(&self, first_seq: u64) -> bool {
        // Acquire, with the release in `Preparer::publish`: the name is on disk.
        self.published.load(Ordering::Acquire) >= first_seq
    }

    pub(super) fn is_blocked(&self) -> bool {
        // Acquire, with the release in `Preparer::step`: the reason was written before.
        self.is_blocked.load(Ordering::Acquire)
    }

    pub(super) fn failure(&self) -> Option<Arc<Error>> {
        self.failure.get().cloned()
    }

    pub(super) fn close(&self) {
        // Release: whatever was handed over before is seen by who sees this.
        self.is_closing.store(true, Ordering::Release);
    }

    fn wake_writer(&self) {
        if let Some(thread) = self.writer.get() {
            thread.unpark();
        }
    }
}

/// What to do after a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Something was done: look again.
    Again,
    /// Nothing to do until the writer says so.
    Idle,
    /// It did not work: try again in a while.
    Later,
    /// The journal is closing or has failed.
    Done,
}

/// Makes and publishes segments.
pub(super) struct Preparer {
    dir: Dir,
    segment_bytes: u64,
    rotation: Arc<Rotation>,
    shared: Arc<Shared>,
    /// A file has the temporary name: ready, or with the writer, who has not handed it back yet.
    has_next: bool,
}

impl Preparer {
    pub(super) fn new(
        dir: Dir,
        segment_bytes: u64,
        rotation: Arc<Rotation>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            dir,
            segment_bytes,
            rotation,
            shared,
            has_next: false,
        }
    }

    /// The thread: steps while there is work, sleeps while there is none.
    pub(super) fn run(mut self) {
        let _guard = PanicGuard(Arc::clone(&self.rotation));
        loop {
            match self.step() {
                Step::Again => {}
                Step::Idle => std::thread::park(),
                Step::Later => std::thread::park_timeout(RETRY),
                Step::Done => break,
            }
        }
    }

    /// Does one thing. What the writer waits for comes first.
    pub(super) fn step(&mut self) -> Step {
        if self.rotation.failure().is_some() {
            return Step::Done;
        }
        if let Some(publish) = self.rotation.publish.pop() {
            return self.publish(&publish);
        }
        // Acquire, with the release in `Rotation::close`.
        if self.rotation.is_closing.load(Ordering::Acquire) {
            self.discard();
            return Step::Done;
        }
        if self.has_next {
            // Not even if the writer took it: until it is published, its name is all it has.
            return Step::Idle;
        }
        match self.prepare() {
            Ok(file) => {
                // There is room: only this thread pushes, and the last file was taken.
                let _ = self.rotation.ready.push(file);
                self.has_next = true;
                self.report(None);
                Step::Again
            }
            Err(error) => {
                self.report(Some(error.to_string()));
                Step::Later
            }
        }
    }

    fn report(&self, trouble: Option<String>) {
        let is_blocked = trouble.is_some();
        self.shared.trouble.set(trouble);
        // Release: who sees the flag finds the reason.
        self.rotation
            .is_blocked
            .store(is_blocked, Ordering::Release);
        self.rotation.wake_writer();
    }

    fn prepare(&self) -> Result<Handle, Error> {
        self.dir.remove_if_there(NEXT_NAME)?;
        let file = self.dir.create(NEXT_NAME)?;
        let made = file.allocate(self.segment_bytes).and_then(|()| file.sync());
        if let Err(error) = made {
            // Gives back what little space it took; the error that counts is the first.
            let _ = self.dir.remove_if_there(NEXT_NAME);
            return Err(error);
        }
        Ok(file)
    }

    fn publish(&mut self, publish: &Publish) -> Step {
        match self.make_durable(publish) {
            Ok(()) => {
                self.has_next = false;
                // Release: whoever sees it may count on the name being on disk.
                self.rotation
                    .published
                    .store(publish.first_seq, Ordering::Release);
                self.rotation.wake_writer();
                // Gives back the reserved space. Nothing depends on it: a failure costs space.
                if let Err(error) = publish.old.set_size(publish.old_bytes) {
                    self.shared.trouble.set(Some(error.to_string()));
                }
                Step::Again
            }
            Err(error) => {
                let _ = self.rotation.failure.set(Arc::new(error));
                self.rotation.wake_writer();
                Step::Done
            }
        }
    }

    fn make_durable(&self, publish: &Publish) -> Result<(), Error> {
        publish.old.sync()?;
        publish.new.sync()?;
        self.dir
            .rename(NEXT_NAME, &segment::name(publish.first_seq))?;
        self.dir.sync()
    }

    /// Removes a file that was made ready and is not needed. If that fails, the next run does it.
    fn discard(&self) {
        if self.rotation.take_ready().is_some() {
            let _ = self.dir.remove_if_there(NEXT_NAME);
        }
    }
}

/// A panic of the preparer must not leave the writer waiting.
struct PanicGuard(Arc<Rotation>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.failure.set(Arc::new(Error::Panicked {
                thread: "kymo-prepare",
            }));
            self.0.wake_writer();
        }
    }
}
