//! `kymo ports`: the serial ports of this host, who uses them, and why one cannot be opened.

use kymo_drivers::link::ports::{self, Port};
use kymo_drivers::link::{self, OpenError};
use serde_json::{Value, json};

use super::{ConfigArgs, Failure, load_plan, say};
use crate::config::plan::{Link, Plan};

/// Lists the serial ports with their USB identity.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A port that cannot be opened is listed with the reason and what to do. If the configuration can be read, \
the sources that use a port are named beside it. No port is opened for longer than a moment.")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    // The ports can be looked at without a configuration, or with a wrong one.
    let plan = load_plan(&args.config).ok();
    let mut ports = ports::list()?;
    // A configured port that is not there, or is no device the system lists, is told of all the same.
    for (_, path) in plan.iter().flat_map(configured) {
        if !ports.iter().any(|port| same(&port.path, &path)) {
            ports.push(Port { path, usb: None });
        }
    }
    let rows: Vec<Value> = ports
        .iter()
        .map(|port| describe(port, plan.as_ref()))
        .collect();
    if args.json {
        say(serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    if rows.is_empty() {
        say("no serial ports on this host");
    }
    for row in &rows {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let used = row["sources"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        let used: Vec<&str> = used.collect();
        let mut line = format!("{:<16} {}", text("path"), text("device"));
        if !used.is_empty() {
            line += &format!("  [source {}]", used.join(", "));
        }
        say(line.trim_end());
        if !text("problem").is_empty() {
            say(format!("{:<16} cannot be opened: {}", "", text("problem")));
        }
        if !text("hint").is_empty() {
            say(format!("{:<16} {}", "", text("hint")));
        }
    }
    Ok(())
}

/// The sources that name a port, with it.
fn configured(plan: &Plan) -> Vec<(String, std::path::PathBuf)> {
    let sources = plan.sources.iter();
    sources
        .filter_map(|source| match &source.link {
            Link::Device(link::Options::Serial(serial)) => {
                Some((source.name.clone(), serial.path.clone()))
            }
            _ => None,
        })
        .collect()
}

/// Whether two paths lead to the same device: `/dev/serial/by-id/…` is a link.
fn same(a: &std::path::Path, b: &std::path::Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn describe(port: &Port, plan: Option<&Plan>) -> Value {
    let device = port.usb.as_ref().map(|usb| {
        let name = [usb.manufacturer.as_deref(), usb.product.as_deref()];
        let name: Vec<&str> = name.into_iter().flatten().collect();
        let serial = usb.serial_number.as_deref().map(|s| format!(" serial {s}"));
        let (vendor, product) = (usb.vendor_id, usb.product_id);
        format!(
            "{vendor:04x}:{product:04x} {}{}",
            name.join(" "),
            serial.unwrap_or_default()
        )
    });
    let problem = ports::probe(&port.path).err();
    let sources = plan.iter().flat_map(|plan| configured(plan));
    let sources: Vec<String> = sources
        .filter(|(_, path)| same(path, &port.path))
        .map(|(name, _)| name)
        .collect();
    json!({
        "path": port.path.to_string_lossy(),
        "device": device,
        "usb": port.usb.as_ref().map(|usb| json!({
            "vendor_id": usb.vendor_id,
            "product_id": usb.product_id,
            "serial_number": usb.serial_number,
            "manufacturer": usb.manufacturer,
            "product": usb.product,
        })),
        "sources": sources,
        "can_be_opened": problem.is_none(),
        "problem": problem.as_ref().map(ToString::to_string),
        "hint": problem.as_ref().and_then(hint),
    })
}

/// What a person can do about it.
fn hint(problem: &OpenError) -> Option<String> {
    match problem {
        OpenError::NoPermission {
            group: Some(group), ..
        } => Some(format!(
            "join the group with `sudo usermod -aG {group} $USER` and log in again"
        )),
        OpenError::InUse { path } => Some(format!("`fuser -v {}` says by whom", path.display())),
        _ => None,
    }
}
