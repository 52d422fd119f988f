//! The command line of ichor: it parses and prints; the work is done by the library.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic where nobody reads: use cli::talk::say and log")]

mod cli;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use cli::arguments::{Arguments, Run};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Err(problem)) = arguments.command.run().map(Run::check) {
        Arguments::command().error(ErrorKind::ArgumentConflict, problem).exit();
    }
    cli::talk::start(&arguments.talk);
    match cli::run(arguments.command) {
        Ok(_) if cli::talk::lost() => ExitCode::FAILURE,
        Ok(code) => code,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
