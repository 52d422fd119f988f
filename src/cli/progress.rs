//! How far a batch is: a bar on a terminal, else lines.

use super::talk;
use indicatif::ProgressBar;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Lines come no more often than this, but for the first and the last.
const PAUSE: Duration = Duration::from_secs(10);

/// How far a batch is.
pub struct Progress {
    bar: ProgressBar,
    lines: bool,
    total: usize,
    done: usize,
    /// Scans that took time.
    worked: usize,
    start: Instant,
    /// When the last line was said.
    said: Option<Instant>,
}

impl Progress {
    /// The beginning of a batch of `total` scans. A single one shows nothing.
    pub fn of(total: usize) -> Progress {
        let lines = total > 1 && !std::io::stderr().is_terminal();
        Progress { bar: talk::progress(total), lines, total, done: 0, worked: 0, start: Instant::now(), said: None }
    }

    /// Says something while the bar is out of the way.
    pub fn suspend(&self, say: impl FnOnce()) {
        self.bar.suspend(say);
    }

    /// One more scan is done; `worked` where it was not there already.
    pub fn step(&mut self, name: &str, worked: bool) {
        self.bar.set_message(talk::shown(name).into_owned());
        self.bar.inc(1);
        self.done += 1;
        self.worked += usize::from(worked);
        if self.lines && (self.done == self.total || self.said.is_none_or(|said| said.elapsed() >= PAUSE)) {
            self.said = Some(Instant::now());
            log::info!("{}", line(self.done, self.total, self.worked, self.start.elapsed()));
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// As `12/400, about 35 min left`. The scans that are left are taken to need as long as those that were worked on;
/// without one, nobody knows.
fn line(done: usize, total: usize, worked: usize, elapsed: Duration) -> String {
    let left = total - done;
    if left == 0 || worked == 0 {
        return format!("{done}/{total}");
    }
    let seconds = elapsed.as_secs_f64() / worked as f64 * left as f64;
    let minutes = (seconds / 60.0).round() as u64;
    let time = match minutes {
        _ if seconds < 100.0 => format!("{} s", seconds.ceil()),
        0..120 => format!("{minutes} min"),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    };
    format!("{done}/{total}, about {time} left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_that_of_scans_like_those_that_were_worked_on() {
        let seconds = Duration::from_secs;
        // 300 were there already; 10 took 60 s each.
        assert_eq!(line(310, 400, 10, seconds(600)), "310/400, about 90 min left");
        assert_eq!(line(12, 400, 12, seconds(6 * 12)), "12/400, about 39 min left");
        assert_eq!(line(1, 2, 1, seconds(7)), "1/2, about 7 s left");
        assert_eq!(line(10, 1000, 10, seconds(100)), "10/1000, about 2 h 45 min left");
        assert_eq!([line(5, 9, 0, seconds(1)), line(9, 9, 3, seconds(9))], ["5/9", "9/9"]);
    }
}
