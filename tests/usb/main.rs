//! Kymo on a real USB bus: in a machine of QEMU's, on the bus that Debian's kernel has as software.
//!
//! The same program is both sides. On the host it packs itself, `kymo` and the kernel's modules into an
//! initial file system, starts the machine, and judges what came out of it. In the guest ([`guest`]) it
//! makes devices out of nothing with the kernel's gadget drivers, plugs and pulls them, and runs `kymo`,
//! which meets them through the whole USB stack.
//!
//! **Always holds.** The machine is started once; every check is made on what it reported. Without QEMU
//! or a kernel it is said what is missing, and with `KYMO_REQUIRE_SERVERS` that is a failure.
//!
//! **Must not know.** How Kymo's drivers work: what they should decode is written here a second time.
//!
//! Needs `qemu-system-x86_64`, a static `busybox`, and a kernel: `KYMO_USB_KERNEL` names a folder that a
//! package `linux-image-…` was unpacked into (`dpkg -x`), or the one that is installed is taken.

#![allow(clippy::print_stdout, reason = "it speaks as a test runner does")]

mod checks;
mod cpio;
mod guest;
mod machine;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == machine::GUEST) {
        return guest::main();
    }
    let is_wanted = |name: &str| {
        let mut filters = args.iter().filter(|arg| !arg.starts_with('-')).peekable();
        filters.peek().is_none() || filters.any(|filter| name.contains(filter.as_str()))
    };
    let wanted = checks::CHECKS.iter().filter(|(name, _)| is_wanted(name));
    let wanted: Vec<_> = wanted.collect();
    if args.iter().any(|arg| arg == "--list") {
        for (name, _) in wanted {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    if wanted.is_empty() {
        return ExitCode::SUCCESS;
    }
    let found = match machine::Parts::find() {
        Ok(parts) => parts,
        Err(missing) => {
            println!("skipped: {missing}");
            let is_required = std::env::var_os("KYMO_REQUIRE_SERVERS").is_some_and(|v| v == "1");
            return ExitCode::from(u8::from(is_required));
        }
    };
    println!(
        "\nrunning {} tests on a USB bus of {}",
        wanted.len(),
        found.kernel()
    );
    let report = match found.run() {
        Ok(report) => report,
        Err(failure) => {
            println!("the machine: {failure}");
            return ExitCode::FAILURE;
        }
    };
    let mut failed = 0;
    for (name, check) in wanted {
        let is_right = catch_unwind(AssertUnwindSafe(|| check(&report))).is_ok();
        println!("test {name} ... {}", if is_right { "ok" } else { "FAILED" });
        failed += usize::from(!is_right);
    }
    if failed > 0 {
        println!("\nwhat the machine reported:\n{report:#}");
        return ExitCode::FAILURE;
    }
    println!();
    ExitCode::SUCCESS
}
