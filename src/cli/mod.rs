//! One file for each command.

pub mod arguments;
mod bench;
mod brain;
mod choices;
mod compare;
mod convert;
mod demo;
mod devices;
mod evaluate;
mod inspect;
pub mod memory;
mod network;
mod phantom;
mod pitchperfect;
mod progress;
mod register;
mod segment;
mod table;
pub mod talk;
mod train;
mod weights;

use arguments::{Command, Run};
use ichor::batch::inputs;
use ichor::network::inference::Inference;
use ichor::network::weights::Weights;
use ichor::scan::brain as extraction;
use ichor::volume::Grid;
use ichor::words::counted;
use ichor::{Error, Result};
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Instant;

/// Does a command.
///
/// # Errors
/// The command's failure; the caller prints it and exits with 1.
pub fn run(command: Command) -> Result<ExitCode> {
    if let Some(run) = command.run() {
        // Before anything is read or written: it would fail for each scan alike.
        run.device.check()?;
    }
    match command {
        Command::Segment(arguments) => segment::run(&arguments),
        Command::Brain(arguments) => brain::run(&arguments),
        Command::Register(arguments) => register::run(&arguments),
        Command::Table(arguments) => table::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Network(arguments) => network::run(&arguments),
        Command::Weights { command } => weights::run(&command),
        Command::Train(arguments) => train::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Pitchperfect { command } => pitchperfect::run(&command),
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
    log::debug!("{}", counted(threads, "thread"));
    ichor::memory::check_threads(threads)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|error| Error::Device(format!("{} cannot be started: {error}", counted(threads, "thread"))))
}

/// The most memory that this process has had resident, where the system tells it (Linux: VmHWM of /proc/self/status).
pub fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kb| kb * 1024)
}

/// Starts the threads of what runs on no pool of its own: one for each processor, fewer where the system gives no more.
///
/// # Errors
/// [`Error::Memory`] and [`Error::Device`] where it gives none.
pub fn start_threads() -> Result<()> {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    // The pool for all of the program can be made once only, and whoever needs it later panics where that failed: each
    // thread is there before, and waits for its part.
    let mut waiting = Vec::new();
    let mut start = || {
        ichor::memory::check_threads(1)?;
        let (send, receive) = mpsc::channel::<rayon::ThreadBuilder>();
        let thread = std::thread::Builder::new().spawn(move || receive.recv().map(rayon::ThreadBuilder::run));
        thread.map_err(|error| Error::Device(format!("a thread cannot be started: {error}")))?;
        waiting.push(send);
        Ok(())
    };
    let started = (0..all).try_for_each(|_| start());
    match started {
        Err(error) if waiting.is_empty() => return Err(error),
        Err(error) => log::debug!("{} of {all}: {error}", counted(waiting.len(), "thread")),
        Ok(()) => {}
    }
    let mut next = waiting.iter();
    let hand_over = |thread| {
        let sent = next.next().map(|thread_of| thread_of.send(thread).is_ok());
        if sent == Some(true) { Ok(()) } else { Err(io::Error::other("a thread has gone")) }
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(waiting.len()).spawn_handler(hand_over).build_global();
    pool.map_err(|error| Error::Device(format!("{} cannot be started: {error}", counted(waiting.len(), "thread"))))
}

/// Refuses to write `output` over a file that the command reads: one of `files`, or of those that the scan `scan` stands
/// for. Paths are compared without links.
fn spare_inputs(output: &Path, scan: Option<&Path>, files: &[Option<&Path>]) -> Result<()> {
    // What is not there yet is no input.
    let Ok(own) = output.canonicalize() else { return Ok(()) };
    let is_input = files.iter().flatten().any(|file| file.canonicalize().is_ok_and(|file| file == own));
    // What is wrong with the scan is told when it is read.
    let is_scan =
        || scan.and_then(|scan| inputs::find(&[scan.to_path_buf()]).ok()).is_some_and(|jobs| inputs::files(&jobs).contains(&own));
    if is_input || is_scan() {
        let problem = "the output is the input, and would be replaced: give another name or folder (-o)".into();
        return Err(Error::Scan { path: output.to_path_buf(), problem });
    }
    Ok(())
}

/// Does a stage of a command; `--log-level debug` says how long it took.
fn timed<T>(stage: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    log::debug!("{stage}: {:.2} s", start.elapsed().as_secs_f64());
    result
}

/// Says at `--log-level debug` how long each stage took.
fn tell_stages<'a>(name: &str, seconds: impl IntoIterator<Item = (&'a String, &'a f64)>) {
    for (stage, seconds) in seconds {
        log::debug!("{name}: {stage} {seconds:.2} s");
    }
}

/// Says at `--log-level debug` what a grid is.
fn tell_grid(name: &str, grid: &Grid) {
    let [[x, y, z], [i, j, k]] = [grid.spacing(), grid.shape.map(|side| side as f64)];
    log::debug!("{name}: {i} x {j} x {k} voxels of {x:.3} x {y:.3} x {z:.3} mm");
}

/// The weights of `--weights`, or the built-in ones.
fn load_weights(file: Option<&Path>) -> Result<Weights> {
    let weights = timed("opening of the weights", || match file {
        Some(file) => Weights::open(file),
        None => Weights::built_in(),
    })?;
    log::debug!(
        "weights {}: {} parameters, {:?}, SHA-256 {}",
        weights.name(),
        weights.description().parameters(),
        weights.metadata().input,
        weights.sha256()
    );
    Ok(weights)
}

/// `weights` on the device and in the grade of the command line.
fn inference(weights: &Weights, run: &Run, threads: usize) -> Inference {
    Inference::new(weights, run.device, threads).with_grade(run.grade.into())
}
