//! `kymo note`: write down what a person has to say about the run that goes on.

use serde_json::json;

use super::query::times;
use super::{DataArgs, Failure, say};
use crate::control::{Note, Request, ask};
use crate::data_dir;
use crate::event::Annotation;

/// Writes a note into the run that goes on: an event of its journal, and of its capture if it records one.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
`kymo export --what events` shows notes among what else happened. A note is about a moment of the run that goes on in the \
data directory; without one it is an error, and nothing is kept.\n\n\
Examples:\n  \
kymo note 'pump on'\n  \
kymo note 'valve 3 was opened' --at -90s\n  \
kymo note 'sensor touched' --source imu --who anna")]
pub(super) struct Args {
    /// What to write down, up to 4096 bytes.
    text: String,
    /// When it was: 2026-11-23T08:00:00Z, or back from now, as in -90s. Now, if nothing is said.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = times::parse)]
    at: Option<i64>,
    /// The source that it is about. Without it, the whole run.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Who says it. Without it, this user's name.
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    #[command(flatten)]
    data: DataArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let usage = |text: String| Failure::Usage(format!("error: {text}"));
    let annotation = Annotation {
        text: args.text.clone(),
        time_ns: args.at,
        source: args.source.clone(),
        who: args.who.clone().unwrap_or_else(user),
    };
    annotation
        .check()
        .map_err(|error| usage(error.to_string()))?;
    let data_dir = args.data.data_dir()?;
    data_dir::readable(&data_dir).map_err(|error| usage(error.to_string()))?;
    let request = Request::Note(Note::Note(annotation));
    match ask(&data_dir, &request)? {
        Some(reply) if reply.ok => {}
        Some(reply) => return Err(usage(reply.error.unwrap_or_default())),
        None => {
            return Err(usage(format!(
                "nothing runs in {}: a note is about a run that goes on",
                data_dir.display()
            )));
        }
    }
    if args.json {
        say(serde_json::to_string_pretty(&json!({ "noted": true }))?);
    } else {
        say("noted");
    }
    Ok(())
}

/// Who runs this, as far as the environment says.
fn user() -> String {
    let mut names = ["USER", "LOGNAME"].iter();
    let named = names.find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()));
    named.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}
