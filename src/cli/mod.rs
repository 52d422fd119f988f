//! One file for each command.

pub mod arguments;
mod bench;
mod brain;
mod compare;
mod convert;
mod demo;
mod devices;
mod evaluate;
mod network;
mod phantom;
mod progress;
mod register;
mod segment;
mod table;
pub mod talk;
mod train;
mod weights;

use arguments::{BrainMethod, Command, Interpolation, Run};
use ichor::cuda::Grade;
use ichor::inference::Inference;
use ichor::pipeline::brain as extraction;
use ichor::pipeline::segment::Interpolation as Method;
use ichor::weights::Weights;
use ichor::{Error, Result};
use std::path::Path;
use std::process::ExitCode;

/// Does a command.
///
/// # Errors
/// The command's failure; the caller prints it and exits with 1.
pub fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Segment(arguments) => segment::run(&arguments),
        Command::Brain(arguments) => brain::run(&arguments),
        Command::Register(arguments) => register::run(&arguments),
        Command::Table(arguments) => table::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Network(arguments) => network::run(&arguments),
        Command::Weights { command } => weights::run(&command),
        Command::Train(arguments) => train::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Phantom(arguments) => phantom::run(&arguments),
        Command::Evaluate(arguments) => evaluate::run(&arguments),
        Command::Devices => devices::run(),
    }
}

/// Does `work` on a pool of `threads` threads (all cores if not given), and tells it their number.
fn with_threads<T: Send>(threads: Option<u16>, work: impl FnOnce(usize) -> T + Send) -> Result<T> {
    let pool = pool(threads)?;
    Ok(pool.install(|| work(pool.current_num_threads())))
}

/// A pool of `threads` threads; all cores if not given.
fn pool(threads: Option<u16>) -> Result<rayon::ThreadPool> {
    let threads = threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|error| Error::Device(format!("{threads} threads cannot be started: {error}")))
}

/// The weights of `--weights`, or the built-in ones.
fn load_weights(file: Option<&Path>) -> Result<Weights> {
    match file {
        Some(file) => Weights::open(file),
        None => Ok(Weights::built_in()),
    }
}

/// `weights` on the device and in the grade of the command line.
fn inference<'w>(weights: &'w Weights, run: &Run, threads: usize) -> Inference<'w> {
    Inference::new(weights, run.device, threads).with_grade(run.grade.into())
}

impl From<arguments::Grade> for Grade {
    fn from(grade: arguments::Grade) -> Self {
        match grade {
            arguments::Grade::Exact => Grade::Exact,
            arguments::Grade::Fast => Grade::Fast,
        }
    }
}

impl From<BrainMethod> for extraction::Method {
    fn from(method: BrainMethod) -> Self {
        match method {
            BrainMethod::Skull => extraction::Method::Skull,
            BrainMethod::Bet => extraction::Method::Bet,
        }
    }
}

impl From<Interpolation> for Method {
    fn from(method: Interpolation) -> Self {
        match method {
            Interpolation::Linear => Method::Linear,
            Interpolation::Nearest => Method::Nearest,
        }
    }
}
