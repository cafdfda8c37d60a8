//! `kymo replay --pty`: a capture's sources on pseudo-terminals.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use kymo_drivers::link::Stop;
use serde_json::{Map, Value, json};

use super::super::capture::{complete, usage};
use super::super::run::make_report;
use super::super::sim::{folder, refuse_foreign, take};
use super::super::{Failure, say};
use super::{Args, advance, bar};
use crate::capture::Capture;
use crate::capture::ports::{Given, Ports, Seen};
use crate::capture::tape::{Found, Playing};
use crate::pipeline::{Played, Timing};

pub(super) fn run(
    args: &Args,
    capture: &Arc<Capture>,
    chosen: Option<&[usize]>,
    playing: Playing,
) -> Result<(), Failure> {
    let folder = folder(args.link_dir.as_deref())?;
    std::fs::create_dir_all(&folder)
        .map_err(|error| usage(format!("cannot make {}: {error}", folder.display())))?;
    let _mine = take(&folder)?;
    make_report(args.report.as_deref())?;
    let sources: Vec<usize> = match chosen {
        Some(chosen) => chosen.to_vec(),
        None => (0..capture.described().sources.len()).collect(),
    };
    let names: Vec<String> = sources
        .iter()
        .map(|source| capture.described().sources[*source].name.clone())
        .collect();
    refuse_foreign(names.iter().map(|name| folder.join(name)))?;

    let stop = Stop::new()?;
    let order = stop.clone();
    ctrlc::set_handler(move || order.trigger()).context("cannot listen for Ctrl-C")?;
    let found = Found::default();
    let ports = Ports::open(capture, &sources, (playing, &found), &folder)
        .context("cannot open a pseudo-terminal for each source")?;
    for (name, link, port) in ports.places() {
        if args.json {
            say(json!({ "started": { "name": name, "link": link, "port": port } }));
        } else {
            say(format_args!(
                "{name}: {} -> {}",
                link.display(),
                port.display()
            ));
        }
    }
    if !args.json {
        say("it begins when each of them has been opened");
    }
    let timer = args.duration.map(|limit| (limit, stop.clone()));
    let timing = &Mutex::<Timing>::default();
    let bar = &bar(&playing, "played");
    let given = if ports.wait_for_readers(&stop)? {
        if let Some((limit, stop)) = timer {
            // It ends with the process, if it does not end the playing.
            std::thread::Builder::new().spawn(move || {
                if !stop.wait(limit) {
                    stop.trigger();
                }
            })?;
        }
        let seen = sources.iter().map(|_| -> Box<Seen<'_>> {
            let mut before = None;
            Box::new(move |time_ns, bytes, late| {
                let mut timing = timing.lock().unwrap_or_else(PoisonError::into_inner);
                timing.add(time_ns, bytes, (late, &mut before));
                if timing.reads.is_multiple_of(64) {
                    advance(bar, &playing, Some(time_ns));
                }
            })
        });
        let seen: Vec<Box<Seen<'_>>> = seen.collect();
        ports.play(args.speed.pace(playing.from_ns), &stop, seen)
    } else {
        Vec::new()
    };
    bar.finish_and_clear();

    let all = timing
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let mut damage = capture.damage().to_vec();
    damage.extend(found.all());
    let range_ns = (playing.from_ns, playing.to_ns);
    let mut played = Played::new(capture, args.speed.text(), range_ns, (names, &all));
    played.damaged = damage.len();
    tell(args, &played, &given)?;
    if let Some(failed) = given.iter().find(|given| given.failure.is_some()) {
        let why = failed.failure.clone().unwrap_or_default();
        return Err(Failure::Running(anyhow::anyhow!(
            "`{}`: {why}",
            failed.name
        )));
    }
    complete(&damage)
}

fn tell(args: &Args, played: &Played, given: &[Given]) -> Result<(), Failure> {
    let of = |given: &Given| {
        let counts = json!({
            "bytes": given.bytes,
            "no_room_bytes": given.no_room,
            "no_reader_bytes": given.no_reader,
        });
        (given.name.clone(), counts)
    };
    let sources: Map<String, Value> = given.iter().map(of).collect();
    let report = json!({ "replay": played, "ports": sources });
    if let Some(path) = &args.report {
        std::fs::write(path, format!("{report:#}\n"))
            .with_context(|| format!("cannot write the report {}", path.display()))?;
    }
    if args.json {
        say(report);
        return Ok(());
    }
    for given in given {
        say(format_args!(
            "{}: {} bytes given; {} for which the reader had no room, {} while nobody had it open",
            given.name, given.bytes, given.no_room, given.no_reader
        ));
    }
    say(played.text().trim_end());
    Ok(())
}
