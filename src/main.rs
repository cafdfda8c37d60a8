//! The `kymo` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    kymo::cli::main()
}
