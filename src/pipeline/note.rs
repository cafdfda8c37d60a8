//! What people have to say about a run while it runs.
//!
//! **Always holds.** An annotation is checked before it becomes an event: its bounds, its source, and that its time lies
//! within the run. It is taken whole, or whoever says it hears why not.
//!
//! **Must not know.** How it came, and where events are written.

use std::sync::Arc;

use kymo_drivers::block::SourceId;

use super::Names;
use crate::clock::{Clock, rfc3339};
use crate::event::{Annotation, AnnotationError, EventKind, EventSender};

/// Names of sources told to somebody who named one that there is not, at most.
const KNOWN_MAX: usize = 24;

/// Makes events of annotations.
#[derive(Clone)]
pub(super) struct Annotator {
    pub(super) names: Arc<Names>,
    pub(super) events: EventSender,
    pub(super) clock: Clock,
    pub(super) started_ns: i64,
}

impl Annotator {
    pub(super) fn annotate(&self, annotation: Annotation) -> Result<(), AnnotationError> {
        annotation.check()?;
        let noted_ns = self.clock.now_ns();
        let source = match annotation.source {
            Some(name) => Some(self.source(&name)?),
            None => None,
        };
        let time_ns = annotation.time_ns.unwrap_or(noted_ns);
        if !(self.started_ns..=noted_ns).contains(&time_ns) {
            return Err(AnnotationError::NotWithin {
                time: rfc3339(time_ns),
                started: rfc3339(self.started_ns),
            });
        }
        let kind = EventKind::Annotation {
            text: annotation.text,
            who: annotation.who,
            noted_ns,
        };
        if self.events.send(source, time_ns, kind) {
            Ok(())
        } else {
            Err(AnnotationError::Busy)
        }
    }

    fn source(&self, name: &str) -> Result<SourceId, AnnotationError> {
        let place = self.names.source_names().position(|known| known == name);
        let place = place.and_then(|place| u16::try_from(place).ok());
        place
            .map(SourceId)
            .ok_or_else(|| AnnotationError::NoSource {
                source_name: name.chars().take(64).collect(),
                known: self
                    .names
                    .source_names()
                    .take(KNOWN_MAX)
                    .map(str::to_owned)
                    .collect(),
            })
    }

    /// For whoever takes notes from outside.
    pub(super) fn for_control(&self) -> Box<dyn Fn(Annotation) -> Result<(), String> + Send> {
        let annotator = self.clone();
        Box::new(move |annotation| {
            annotator
                .annotate(annotation)
                .map_err(|error| error.to_string())
        })
    }
}
