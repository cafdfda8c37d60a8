//! What is wrong with something that goes on trying: a follower whose disk is full, a notifier that nobody answers.
//!
//! **Always holds.** Whoever looks sees the newest word. A thread that breaks down leaves one behind.
//!
//! **Must not know.** Whose trouble it is.

use std::sync::{Arc, Mutex, PoisonError};

/// One place for it; clones are the same place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    /// What is wrong now, if anything is.
    pub(crate) fn get(&self) -> Option<String> {
        let trouble = self.0.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, trouble: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// For a thread to hold: should it panic, that is its trouble, and it does not look as if it were merely slow.
    pub(crate) fn guard(&self) -> PanicGuard {
        PanicGuard(self.clone())
    }
}

/// Tells a panic.
#[must_use]
pub(crate) struct PanicGuard(Trouble);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let what =
                "its thread broke down: this is a mistake in kymo; the journal has everything";
            self.0.set(Some(what.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_breaks_down_leaves_word() {
        let trouble = Trouble::default();
        let own = trouble.clone();
        let thread = std::thread::spawn(move || {
            let _guard = own.guard();
            panic!("on purpose");
        });
        assert!(thread.join().is_err());
        assert!(
            trouble
                .get()
                .is_some_and(|what| what.contains("broke down"))
        );
        trouble.set(None);
        drop(trouble.guard());
        assert_eq!(trouble.get(), None, "a thread that ends is no trouble");
    }
}
