//! What the host can do for punctuality: real-time scheduling, processors of their own, memory that stays.
//!
//! **Always holds.** What the system does not permit is told, and changes nothing: whoever asked goes on without it.
//! A thread's scheduling is not passed on to the threads that it starts.
//!
//! **Must not know.** Whose threads they are.

use std::io;

use rustix::mm::{MlockAllFlags, mlockall, munlockall};
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, CpuSet, capabilities, sched_setaffinity};

/// The lowest of the real-time priorities used: above all of ordinary threads, and below those of the kernel's own
/// interrupt threads, which are at 50.
const LOWEST: i32 = 10;

/// Processors that can be named: so many have room in the system's set.
pub const CORES_MAX: usize = CpuSet::MAX_CPU;

/// Which of the threads goes first, where they are scheduled in real time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// A reader of sources that can wait: a device that floods must not keep the stage from its work.
    Reader,
    /// The stage.
    Stage,
    /// A reader of a critical source: what it reads is what the stage should do next.
    CriticalReader,
}

/// How a thread is to be scheduled. By default it is as any other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// In real time (`SCHED_FIFO`), at this rank.
    pub realtime: Option<Rank>,
    /// On these processors alone; none: on any.
    pub cores: Vec<usize>,
}

/// Makes the calling thread less urgent by so many steps (setpriority(2); 0 to 19), beside the others of this process or
/// its group. Whoever is in real time stays so.
pub fn be_nice(steps: i32) {
    // On Linux a thread's number stands for a process's here: setpriority(2), BUGS. To be less urgent is always permitted;
    // a system that refuses all the same has decided so.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), steps);
}

/// Something that the system does not permit.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}; {help}")]
pub struct Refused {
    /// What was wanted.
    pub what: &'static str,
    /// What the system said.
    pub why: String,
    /// What would help.
    pub help: &'static str,
}

impl Scheduling {
    /// Whether anything is wanted.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Schedules the calling thread so; what is refused is returned, the rest is done.
    #[must_use]
    pub fn apply(&self) -> Vec<Refused> {
        let mut refused = Vec::new();
        if let Some(rank) = self.realtime
            && let Err(error) = in_real_time(rank)
        {
            refused.push(Refused {
                what: "no real-time scheduling",
                why: error.to_string(),
                help: "it needs CAP_SYS_NICE, or LimitRTPRIO=12 in the service's unit",
            });
        }
        if !self.cores.is_empty()
            && let Err(error) = on_cores(&self.cores)
        {
            refused.push(Refused {
                what: "no processors of its own",
                why: error.to_string(),
                help: "`nproc` says how many there are, counted from 0",
            });
        }
        refused
    }

    /// What of it is permitted, tried out on a thread that ends at once, and what is not.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn tried(self) -> io::Result<(Self, Vec<Refused>)> {
        if self.is_default() {
            return Ok((self, Vec::new()));
        }
        let thread = std::thread::Builder::new().name("kymo-trial".to_owned());
        let trial = thread.spawn(move || {
            let mut permitted = Self::default();
            let mut refused = Vec::new();
            let realtime = Self {
                realtime: self.realtime,
                cores: Vec::new(),
            };
            let cores = Self {
                realtime: None,
                cores: self.cores,
            };
            match realtime.apply() {
                found if found.is_empty() => permitted.realtime = realtime.realtime,
                found => refused.extend(found),
            }
            match cores.apply() {
                found if found.is_empty() => permitted.cores = cores.cores,
                found => refused.extend(found),
            }
            (permitted, refused)
        })?;
        trial
            .join()
            .map_err(|_| io::Error::other("the trial thread broke down"))
    }
}

fn in_real_time(rank: Rank) -> io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: LOWEST + rank as i32,
    };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the parameters are a valid structure that outlives the call; 0 means the calling thread.
    match unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn on_cores(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        if core >= CORES_MAX {
            return Err(io::Error::other(format!("there is no processor {core}")));
        }
        set.set(core);
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// Keeps every page that was touched, and will be, in memory: none is fetched from a disk again.
///
/// # Errors
/// If this process may not lock as much as it likes. Locking up to a limit would be worse than none: the first
/// allocation beyond it would fail.
pub fn lock_memory() -> Result<(), Refused> {
    let refused = |why: String| Refused {
        what: "memory is not locked",
        why,
        help: "it needs CAP_IPC_LOCK, or LimitMEMLOCK=infinity in the service's unit",
    };
    let limit = getrlimit(Resource::Memlock).current;
    let is_able =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    if let (Some(bytes), false) = (limit, is_able) {
        return Err(refused(format!("only {bytes} bytes may be")));
    }
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(flags).map_err(|errno| refused(io::Error::from(errno).to_string()))
}

/// Takes [`lock_memory`] back.
pub fn unlock_memory() {
    // Nothing was locked, or nothing is any more.
    let _ = munlockall();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn being_nice_concerns_the_calling_thread_alone() {
        let nice = || rustix::process::getpriority_process(Some(rustix::thread::gettid()));
        let before = nice().expect("a number");
        let other = std::thread::spawn(move || {
            be_nice(before + 3);
            nice()
        });
        let found = other.join().expect("it ends").expect("a number");
        assert_eq!(found, (before + 3).min(19));
        assert_eq!(nice().expect("a number"), before);
    }

    fn scheduler() -> i32 {
        // SAFETY: 0 means the calling thread.
        unsafe { libc::sched_getscheduler(0) }
    }

    #[test]
    fn a_processor_that_there_is_not_is_refused_and_the_rest_is_done() {
        let wanted = Scheduling {
            realtime: None,
            cores: vec![CORES_MAX - 1],
        };
        let (permitted, refused) = wanted.tried().expect("a thread");
        assert_eq!(permitted, Scheduling::default());
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(refused[0].to_string().contains("nproc"), "{}", refused[0]);
        let beyond = Scheduling {
            realtime: None,
            cores: vec![usize::MAX],
        };
        assert_eq!(beyond.apply().len(), 1);
    }

    #[test]
    fn what_the_trial_was_permitted_a_thread_has_and_its_own_threads_have_not() {
        let core = rustix::thread::sched_getcpu();
        let wanted = Scheduling {
            realtime: Some(Rank::Stage),
            cores: vec![core],
        };
        let (permitted, refused) = wanted.tried().expect("a thread");
        // Real time needs a privilege that whoever runs the tests may not have: then it is told.
        assert_eq!(
            permitted.realtime.is_none(),
            refused.len() == 1,
            "{refused:?}"
        );
        assert_eq!(permitted.cores, [core]);
        let thread = std::thread::spawn(move || {
            assert!(permitted.apply().is_empty());
            let child = std::thread::spawn(scheduler).join().expect("it ends");
            (permitted.realtime.is_some(), scheduler(), child)
        });
        let (is_realtime, own, child) = thread.join().expect("it ends");
        let wanted = if is_realtime {
            libc::SCHED_FIFO
        } else {
            libc::SCHED_OTHER
        };
        assert_eq!(own & !libc::SCHED_RESET_ON_FORK, wanted);
        assert_eq!(child, libc::SCHED_OTHER);
        assert_eq!(
            scheduler(),
            libc::SCHED_OTHER,
            "the trial was on a thread of its own"
        );
    }
}
