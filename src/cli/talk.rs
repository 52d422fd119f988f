//! What is said on standard error: messages, and a progress bar on a terminal.

use crate::cli::arguments::{LogLevel, Talk};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::io::IsTerminal;
use std::sync::LazyLock;

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
        TERMINAL.suspend(|| eprintln!("ichor: {level}{}", record.args()));
    }

    fn flush(&self) {}
}

/// Starts the messages at the level that was asked for.
pub fn start(talk: &Talk) {
    let level = match talk.log_level {
        _ if talk.quiet => LevelFilter::Error,
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
    };
    log::set_max_level(level);
    // A second logger cannot have been set: this is the first thing that the program does.
    let _ = log::set_logger(&Messages);
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
