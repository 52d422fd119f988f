//! The command line of ichor: it parses and prints; the work is done by the library.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic where nobody reads: use cli::talk::say and log")]

mod cli;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use cli::arguments::{Arguments, Run};
use std::process::ExitCode;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: cli::memory::Allocator = cli::memory::Allocator;

fn main() -> ExitCode {
    let start = Instant::now();
    let arguments = Arguments::try_parse().unwrap_or_else(|error| cli::talk::refuse(&error));
    if let Some(Err(problem)) = arguments.command.run().map(Run::check) {
        cli::talk::refuse(&Arguments::command().error(ErrorKind::ArgumentConflict, problem));
    }
    cli::talk::start(&arguments.talk);
    log::debug!(
        "ichor {}, {} processors",
        env!("CARGO_PKG_VERSION"),
        std::thread::available_parallelism().map_or(1, usize::from)
    );
    let outcome = cli::start_threads().and_then(|()| cli::run(arguments.command));
    let resident =
        cli::peak_resident_bytes().map_or_else(String::new, |bytes| format!(", at most {:.0} MB resident", bytes as f64 / 1e6));
    log::debug!("{:.2} s in all{resident}", start.elapsed().as_secs_f64());
    match outcome {
        Ok(_) if cli::talk::lost() => ExitCode::FAILURE,
        Ok(code) => code,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
