//! `kymo` as a user of the guest runs it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{Result, wait_until};

const PROGRAM: &str = "/kymo";

/// Something of `kymo` that goes on until it is told to end.
pub(crate) struct Running {
    child: Child,
    output: PathBuf,
}

impl Running {
    /// Starts it, with what it prints in a file of this name.
    pub(crate) fn start(name: &str, args: &[&str]) -> Result<Self> {
        let output = Path::new("/tmp").join(format!("{name}.out"));
        let child = Command::new(PROGRAM)
            .args(args)
            .stdin(Stdio::null())
            .stdout(File::create(&output)?)
            .spawn()?;
        Ok(Self { child, output })
    }

    /// What it has printed so far.
    pub(crate) fn printed(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Whether it has a device open: by its file, or by what follows it.
    pub(crate) fn has_open(&self, device: &str) -> bool {
        let folder = format!("/proc/{}/fd", self.child.id());
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        files
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .any(|file| file == Path::new(device))
    }

    pub(crate) fn wait_for(&self, device: &str) -> Result<()> {
        wait_until(&format!("kymo opens {device}"), || self.has_open(device))
    }

    /// Asks it to end, as a service manager does; its status.
    pub(crate) fn end(&mut self) -> Result<i32> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let mut status = None;
        wait_until("kymo ends", || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        })?;
        Ok(status.and_then(|status| status.code()).unwrap_or(-1))
    }
}

/// What a command prints, read as JSON.
pub(crate) fn json(args: &[&str]) -> Result<Value> {
    let printed = text(args)?;
    serde_json::from_str(&printed)
        .map_err(|error| format!("kymo {}: {error}: {printed}", args.join(" ")).into())
}

/// What a command prints.
pub(crate) fn text(args: &[&str]) -> Result<String> {
    printed(Command::new(PROGRAM).args(args), args)
}

/// The same for somebody who may do nothing, read as JSON.
pub(crate) fn json_for_nobody(args: &[&str]) -> Result<Value> {
    const NOBODY: u32 = 65_534;
    let mut command = Command::new(PROGRAM);
    let printed = printed(command.args(args).uid(NOBODY).gid(NOBODY), args)?;
    Ok(serde_json::from_str(&printed)?)
}

fn printed(command: &mut Command, args: &[&str]) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if !errors.is_empty() {
        super::note(&format!("kymo {}: {}", args.join(" "), errors.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
