//! What is said: results on standard output; messages, and a progress bar on a terminal, on standard error.

use crate::cli::arguments::Talk;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::fmt::Arguments;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bars and messages share the terminal through this.
static TERMINAL: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Prints messages as `ichor: message`, with the level where it is a warning or an error.
struct Messages;

impl Log for Messages {
    fn enabled(&self, metadata: &Metadata) -> bool {
        // What a dependency has to say is for its developers.
        metadata.target().starts_with("ichor") || metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Error => "error: ",
            Level::Warn => "warning: ",
            _ => "",
        };
        // Where nobody listens any more, the work goes on.
        TERMINAL.suspend(|| _ = writeln!(std::io::stderr(), "ichor: {level}{}", record.args()));
    }

    fn flush(&self) {}
}

/// Starts the messages at the level that was asked for.
pub fn start(talk: &Talk) {
    let level = if talk.quiet { LevelFilter::Error } else { talk.log_level.into() };
    log::set_max_level(level);
    // A second logger cannot have been set: this is the first thing that the program does.
    let _ = log::set_logger(&Messages);
}

/// Whether standard output could not be written.
static LOST: AtomicBool = AtomicBool::new(false);

/// Writes a line to standard output, as `println!`, but does not panic. A reader that has closed it (`ichor segment DIR | head -1`) has what it wanted: the work
/// goes on without a word. Any other failure, as a full disk, is reported once, and makes the program fail in the end.
macro_rules! say {
    ($($part:tt)*) => { $crate::cli::talk::line(format_args!($($part)*)) };
}
pub(crate) use say;

/// What [`say`] does.
pub fn line(text: Arguments) {
    if let Err(error) = writeln!(std::io::stdout(), "{text}")
        && error.kind() != ErrorKind::BrokenPipe
        && !LOST.swap(true, Ordering::Relaxed)
    {
        log::error!("standard output cannot be written ({error}): give it a place with room");
    }
}

/// Whether something that was to be printed is lost.
pub fn lost() -> bool {
    // What is buffered has not failed yet.
    std::io::stdout().flush().is_err_and(|error| error.kind() != ErrorKind::BrokenPipe) || LOST.load(Ordering::Relaxed)
}

/// A bar of `length` scans: shown on a terminal when messages are, and when there is more than one.
pub fn progress(length: usize) -> ProgressBar {
    bar(length, "{bar:30} {pos}/{len} scans, {eta} left  {msg}")
}

/// A bar of the updates of a training's epoch.
pub fn updates() -> ProgressBar {
    bar(usize::MAX, "{bar:30} {pos}/{len} updates, {eta} left  {msg}")
}

fn bar(length: usize, template: &str) -> ProgressBar {
    let shown = length > 1 && log::max_level() >= LevelFilter::Info && std::io::stderr().is_terminal();
    let bar = ProgressBar::with_draw_target(
        Some(length as u64),
        if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
    );
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    if shown { TERMINAL.add(bar) } else { bar }
}
