//! The machine: what it is made of, and how it is started.

use std::collections::BTreeSet;
use std::fs;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cpio::Archive;

/// First argument of the program in the guest.
pub(crate) const GUEST: &str = "--in-the-guest";

/// The modules that are loaded, in this order; what they depend on comes before them.
const MODULES: [(&str, &str); 5] = [
    ("dummy_hcd", "num=4"),
    ("libcomposite", ""),
    ("usb_f_acm", ""),
    ("usb_f_fs", ""),
    ("cdc_acm", ""),
];

/// Far longer than it takes on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(280);

/// What the guest may use. What Kymo records there lies in memory.
const MEMORY_MIB: &str = "2048";

/// What a machine needs, found on this host.
pub(crate) struct Parts {
    qemu: PathBuf,
    busybox: PathBuf,
    image: PathBuf,
    modules: PathBuf,
}

impl Parts {
    /// Looks for everything; says what is missing.
    pub(crate) fn find() -> Result<Self, String> {
        if !cfg!(target_arch = "x86_64") {
            return Err(
                "the machine that it starts is an x86-64, and this program is not".to_owned(),
            );
        }
        let qemu = on_path("qemu-system-x86_64").ok_or("there is no qemu-system-x86_64 on PATH")?;
        let busybox = on_path("busybox").ok_or("there is no busybox on PATH")?;
        if !is_static(&busybox) {
            return Err("busybox is not linked statically (Debian: busybox-static)".to_owned());
        }
        let root = std::env::var_os("KYMO_USB_KERNEL").map_or_else(|| "/".into(), PathBuf::from);
        let releases = fs::read_dir(root.join("lib/modules")).into_iter().flatten();
        let mut releases: Vec<PathBuf> = releases.flatten().map(|entry| entry.path()).collect();
        releases.sort();
        let newest = releases.iter().rev().find_map(|modules| {
            let release = modules.file_name()?.to_string_lossy();
            let image = root.join(format!("boot/vmlinuz-{release}"));
            let has_bus = module(modules, "dummy_hcd").is_some();
            (image.exists() && has_bus).then(|| (image, modules.clone()))
        });
        let (image, modules) = newest.ok_or_else(|| {
            format!(
                "there is no kernel with dummy_hcd in {} (KYMO_USB_KERNEL)",
                root.display()
            )
        })?;
        Ok(Self {
            qemu,
            busybox,
            image,
            modules,
        })
    }

    /// The kernel's release.
    pub(crate) fn kernel(&self) -> String {
        let name = self.modules.file_name().unwrap_or_default();
        format!("Linux {}", name.to_string_lossy())
    }

    /// Runs the machine to its end, and gives back what the guest reported.
    pub(crate) fn run(&self) -> Result<Value, String> {
        let folder = tempfile::tempdir().map_err(|error| format!("no folder: {error}"))?;
        let (initrd, report, console) = (
            folder.path().join("initrd"),
            folder.path().join("report"),
            folder.path().join("console"),
        );
        self.pack(&initrd, folder.path())
            .map_err(|error| format!("cannot pack its file system: {error}"))?;
        let mut qemu = Command::new(&self.qemu);
        // Hardware's help is not asked for: within a virtual machine it hangs, or is not there.
        qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"])
            .args([
                "-m",
                MEMORY_MIB,
                "-display",
                "none",
                "-no-reboot",
                "-nic",
                "none",
            ])
            .arg("-kernel")
            .arg(&self.image)
            .arg("-initrd")
            .arg(&initrd)
            .args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"])
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .arg("-serial")
            .arg(format!("file:{}", report.display()))
            .stdin(Stdio::null());
        let mut child = qemu
            .spawn()
            .map_err(|error| format!("cannot start: {error}"))?;
        let ended = wait(&mut child);
        let console = fs::read_to_string(&console).unwrap_or_default();
        let tail: Vec<&str> = console.lines().rev().take(40).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        let tail = tail.join("\n");
        ended.map_err(|what| format!("{what}; its console ended with:\n{tail}"))?;
        let report = fs::read(&report).map_err(|error| format!("no report: {error}"))?;
        let report: Value = serde_json::from_slice(&report).map_err(|error| {
            let text = String::from_utf8_lossy(&report);
            format!("its report is none ({error}): {text}\nits console ended with:\n{tail}")
        })?;
        match report["failed"].as_str() {
            Some(what) => Err(format!(
                "{what}\n{report:#}\nits console ended with:\n{tail}"
            )),
            None => Ok(report),
        }
    }

    /// Packs busybox, the modules, the programs and the libraries they need.
    fn pack(&self, initrd: &Path, scratch: &Path) -> std::io::Result<()> {
        let mut archive = Archive::new(BufWriter::new(fs::File::create(initrd)?));
        for folder in [
            "bin", "dev", "proc", "sys", "tmp", "modules", "lib", "lib64",
        ] {
            archive.folder(folder)?;
        }
        archive.file("bin/busybox", &fs::read(&self.busybox)?)?;
        archive.file("init", include_bytes!("init"))?;
        let mut order = Vec::new();
        for (name, options) in MODULES {
            self.require(name, options, &mut order);
        }
        let mut list = String::new();
        for (place, (path, options)) in order.iter().enumerate() {
            let name = format!("{place:02}.ko");
            archive.file(&format!("modules/{name}"), &fs::read(path)?)?;
            list += &format!("{name} {options}\n");
        }
        archive.file("modules/list", list.as_bytes())?;
        let me = std::env::current_exe()?;
        let programs = [
            ("kymo", Path::new(env!("CARGO_BIN_EXE_kymo"))),
            ("guest", &*me),
        ];
        let mut libraries = BTreeSet::new();
        for (name, path) in programs {
            archive.file(name, &stripped(path, &scratch.join(name))?)?;
            libraries.extend(needed_by(path)?);
        }
        let folders: BTreeSet<&Path> = libraries
            .iter()
            .flat_map(|library| library.ancestors().skip(1))
            .collect();
        for folder in folders {
            archive.folder(&folder.to_string_lossy())?;
        }
        for library in &libraries {
            archive.file(&library.to_string_lossy(), &fs::read(library)?)?;
        }
        archive.finish()
    }

    /// Puts a module behind what it depends on.
    fn require(&self, name: &str, options: &str, order: &mut Vec<(PathBuf, String)>) {
        // One that is not there is built into the kernel, or insmod will say so on the console.
        let Some(path) = module(&self.modules, name) else {
            return;
        };
        if order.iter().any(|(known, _)| *known == path) {
            return;
        }
        let bytes = fs::read(&path).unwrap_or_default();
        for needed in depends(&bytes) {
            self.require(&needed, "", order);
        }
        order.push((path, options.to_owned()));
    }
}

/// Waits for the machine to switch itself off.
fn wait(child: &mut Child) -> Result<(), String> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("it ended with {status}")),
            Ok(None) => std::thread::park_timeout(Duration::from_millis(50)),
            Err(error) => return Err(format!("cannot wait for it: {error}")),
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    Err(format!("it did not end within {PATIENCE:?}"))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

fn is_static(program: &Path) -> bool {
    needed_by(program).is_ok_and(|libraries| libraries.is_empty())
}

/// The libraries that a program needs, the loader among them, as `ldd` lists them.
fn needed_by(program: &Path) -> std::io::Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.find(|word| word.starts_with('/'))
    });
    Ok(words.map(PathBuf::from).collect())
}

/// A program without what only a debugger reads: an eighth of its size.
fn stripped(program: &Path, to: &Path) -> std::io::Result<Vec<u8>> {
    let done = Command::new("strip")
        .arg("-o")
        .arg(to)
        .arg(program)
        .status();
    match done {
        Ok(status) if status.success() => fs::read(to),
        // Slower to load, and just as good.
        _ => fs::read(program),
    }
}

/// A module's file, wherever in the tree it is.
fn module(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder {
                folders.push(path);
                continue;
            }
            let stem = path.file_name()?.to_string_lossy().replace('-', "_");
            if stem.strip_suffix(".ko") == Some(&name.replace('-', "_")) {
                return Some(path);
            }
        }
    }
    None
}

/// The modules that a module names as those it depends on, in its section `.modinfo`.
fn depends(bytes: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = bytes.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let text = bytes[at + KEY.len()..].split(|byte| *byte == 0).next();
    let text = String::from_utf8_lossy(text.unwrap_or_default()).into_owned();
    let names = text.split(',').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}
