//! What is said: results on standard output; messages, and a progress bar on a terminal, on standard error.
//!
//! Names of files and texts of headers are other people's: whatever is said goes through [`shown`].

use crate::cli::arguments::Talk;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::borrow::Cow;
use std::fmt::{Arguments, Display};
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
        let text = record.args().to_string();
        TERMINAL.suspend(|| _ = writeln!(std::io::stderr(), "ichor: {level}{}", shown(&text)));
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
    print(&shown(&text.to_string()));
}

/// Prints a line of columns with tabs between them, for other programs to read.
pub fn columns(columns: &[&dyn Display]) {
    let columns: Vec<String> = columns.iter().map(|column| shown(&column.to_string()).into_owned()).collect();
    print(&columns.join("\t"));
}

/// Prints a text of several lines, such as JSON, which stays the same JSON: where characters are written out, it is as
/// JSON does.
pub fn lines(text: &str) {
    let lines: Vec<Cow<str>> = text.split('\n').map(shown).collect();
    print(&lines.join("\n"));
}

/// Says what is wrong with the command line, and ends the program; or shows the help that was asked for.
pub fn refuse(error: &clap::Error) -> ! {
    // Colours are for command lines that have none of their own.
    if !error.use_stderr() || !std::env::args_os().any(|argument| argument.to_string_lossy().contains(moves_the_cursor)) {
        error.exit();
    }
    for line in error.render().to_string().trim_end().split('\n') {
        _ = writeln!(std::io::stderr(), "{}", shown(line));
    }
    std::process::exit(error.exit_code());
}

/// A text as it may go to a terminal: characters that would move the cursor, change colours, break the line or turn the
/// direction of writing are written out (`\u001b`).
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(moves_the_cursor) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => shown += "\\n",
            '\r' => shown += "\\r",
            '\t' => shown += "\\t",
            c if moves_the_cursor(c) => shown += &format!("\\u{:04x}", u32::from(c)),
            c => shown.push(c),
        }
    }
    shown.into()
}

/// Whether a terminal obeys this character and does not show it: control characters (C0, DEL, C1), separators of lines,
/// marks of the direction of writing (Unicode, UAX 9), and what has no width.
fn moves_the_cursor(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

fn print(text: &str) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        for (text, expected) in [
            ("a\u{1b}[31mred\u{1b}[0m", "a\\u001b[31mred\\u001b[0m"),
            ("one\ntwo\r\tthree", "one\\ntwo\\r\\tthree"),
            ("\u{9b}2J\u{7f}\u{8}\0\u{7}", "\\u009b2J\\u007f\\u0008\\u0000\\u0007"),
            ("\u{202e}txt.\u{2066}x\u{2069}\u{200f}", "\\u202etxt.\\u2066x\\u2069\\u200f"),
            ("\u{2028}\u{2029}\u{feff}\u{200b}", "\\u2028\\u2029\\ufeff\\u200b"),
        ] {
            assert_eq!(shown(text), expected);
            assert_eq!(shown(expected), expected);
            // Within JSON it is the same text.
            let json = shown(&serde_json::to_string(text).unwrap()).into_owned();
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
        for text in ["Kopf nativ 5 mm", "Crâne sans injection", "頭部", "ГОЛОВА", "קרקפת", "هد", "é e\u{301}", "C:\\new\\u", "🙂"]
        {
            assert_eq!(shown(text), text);
        }
    }
}
