//! `kymo record`: a run that records a capture, too.

use std::path::PathBuf;

use super::{Failure, run};

/// Acquires as `kymo run` does, and records what the devices send into a capture.
#[derive(Debug, clap::Args)]
// The run's arguments have the type's name already.
#[group(id = "record")]
#[command(after_help = "\
A capture is an MCAP file with the bytes of each source as they were read, with their times; what was sent to the devices; \
events and notes; and the whole configuration. Foxglove and Python's `mcap` open it, and `kymo capture` \
works on it.\n\n\
This is a run with its journal, store, rules and sinks; only the recording comes on top. `record = true` in the \
configuration's [capture] does the same for `kymo run`, and there are its other settings. A disk that is full or fails ends the \
recording, with exit status 1 at the end, and not the run. What the disk is too slow for is counted in the report and stands as a gap \
in the capture.\n\n\
Examples:\n  \
kymo record --duration 1min\n  \
kymo record --output test-17.mcap\n  \
kymo note 'pump on'                        written into the capture that is being recorded\n  \
kymo capture info kymo-data/captures")]
pub(super) struct Args {
    #[command(flatten)]
    run: run::Args,
    /// The capture's file; when it is full, FILE-0002 follows. Without it, one named after the run in the data directory's `captures`.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    run::run_with(&args.run, |plan| {
        let mut capture = plan.capture_options.clone();
        capture.file.clone_from(&args.output);
        plan.capture = Some(capture);
    })
}
