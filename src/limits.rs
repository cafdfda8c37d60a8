//! What the system lets this process have: descriptors, locked memory, real-time scheduling, processors.
//!
//! **Always holds.** What is not permitted is told, and changes nothing: a run goes on without it.
//!
//! **Must not know.** Who wants it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Makes room for so many open descriptors, as far as the hard limit allows. A thousand serial ports need some
/// five thousand, and the usual soft limit is 1024.
///
/// # Errors
/// If the hard limit is lower: how many there are, and how to have more.
pub fn raise_descriptors(wanted: u64) -> Result<(), TooFew> {
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let allowed = now.maximum.map_or(wanted, |hard| hard.min(wanted));
    let new = Rlimit {
        current: Some(allowed),
        maximum: now.maximum,
    };
    let available = match setrlimit(Resource::Nofile, new) {
        Ok(()) => allowed,
        Err(_) => now.current.unwrap_or(wanted),
    };
    if available < wanted {
        return Err(TooFew { available, wanted });
    }
    Ok(())
}

/// Fewer descriptors than are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{wanted} open files may be needed and {available} are allowed: raise the limit with `ulimit -n {wanted}`, or LimitNOFILE= in the service's unit"
)]
pub struct TooFew {
    /// How many may be open.
    pub available: u64,
    /// How many may be needed.
    pub wanted: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_system_can_have_is_told_and_changes_nothing_for_the_worse() {
        let before = getrlimit(Resource::Nofile).current;
        if getrlimit(Resource::Nofile).maximum.is_some() {
            let error = raise_descriptors(u64::MAX - 1).expect_err("nobody has so many");
            assert!(error.to_string().contains("ulimit"));
        }
        assert!(getrlimit(Resource::Nofile).current >= before);
        raise_descriptors(64).expect("every process has so many");
    }
}
