//! Every interleaving of the wake-up: the very files that the lanes are made of, over loom's atomics.

#[allow(unused_imports)]
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
}

#[allow(dead_code, unreachable_pub)]
#[path = "../src/lanes/gate.rs"]
mod gate;
#[allow(dead_code, unreachable_pub)]
#[path = "../src/lanes/ready.rs"]
mod ready;

use gate::{Gate, Wake};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use ready::Ready;

/// Loom's own one-permit wake-up, which behaves as `tokio::sync::Notify` and `Thread::unpark` do.
struct Permit(loom::sync::Notify);

impl Wake for Permit {
    fn wake(&self) {
        self.0.notify();
    }
}

/// A producer that publishes to a queue, marks its lane and signals; a consumer that sleeps by the gate.
struct Model {
    /// Stands for the lane's queue: how many blocks are in it.
    queue: AtomicUsize,
    ready: Ready,
    gate: Gate<Permit>,
}

/// All interleavings with up to three preemptions: more take minutes, and such protocols have
/// not been seen to break later than at two (Musuvathi and Qadeer, PLDI 2007).
fn bounded() -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder
}

fn publish(model: &Model) {
    // The real queue publishes with release, too.
    model.queue.fetch_add(1, Ordering::Release);
    model.ready.add(0);
    model.gate.signal();
}

fn consume(model: &Model, expected: usize) {
    let mut own = [0_u64];
    let mut taken = 0;
    while taken < expected {
        model.ready.take_into(&mut own);
        if own[0] != 0 {
            own[0] = 0;
            taken += model.queue.swap(0, Ordering::Acquire);
        } else if model.gate.may_sleep(|| model.ready.any()) {
            model.gate.waker().0.wait();
            model.gate.woke();
        }
    }
    assert_eq!(taken, expected);
}

fn model() -> Arc<Model> {
    Arc::new(Model {
        queue: AtomicUsize::new(0),
        ready: Ready::new(1),
        gate: Gate::new(Permit(loom::sync::Notify::new())),
    })
}

/// Loom reports a lost wake-up as a deadlock: the consumer would sleep for ever.
#[test]
fn no_wake_up_is_lost_with_one_producer() {
    bounded().check(|| {
        let model = model();
        let producer = {
            let model = Arc::clone(&model);
            thread::spawn(move || {
                publish(&model);
                publish(&model);
            })
        };
        consume(&model, 2);
        producer.join().expect("the producer does not panic");
    });
}

#[test]
fn no_wake_up_is_lost_with_two_producers() {
    bounded().check(|| {
        let model = model();
        let producers: Vec<_> = (0..2)
            .map(|_| {
                let model = Arc::clone(&model);
                thread::spawn(move || publish(&model))
            })
            .collect();
        consume(&model, 2);
        for producer in producers {
            producer.join().expect("the producer does not panic");
        }
    });
}

/// The other direction: a reader that sleeps until its lane has room.
#[test]
fn a_reader_waiting_for_room_is_always_woken() {
    bounded().check(|| {
        let model = model();
        model.queue.store(1, Ordering::Relaxed); // A lane of one place, full.
        let consumer = {
            let model = Arc::clone(&model);
            thread::spawn(move || {
                model.queue.store(0, Ordering::Release);
                model.gate.signal();
            })
        };
        while model.queue.load(Ordering::Acquire) == 1 {
            if model
                .gate
                .may_sleep(|| model.queue.load(Ordering::Acquire) == 0)
            {
                model.gate.waker().0.wait();
                model.gate.woke();
            }
        }
        consumer.join().expect("the consumer does not panic");
    });
}
