//! The binary: hands its arguments and its environment over to `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    quarrier::cli::main()
}
