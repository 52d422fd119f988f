//! `ichor compare`

use super::timed;
use crate::cli::arguments::Compare;
use crate::cli::talk::{self, say};
use ichor::Result;
use ichor::batch::compare::{EXPANSION_ML, EXPANSION_PERCENT, TimePoint, compare};
use std::process::ExitCode;

pub fn run(arguments: &Compare) -> Result<ExitCode> {
    let found = timed("reading and comparison", || -> Result<_> {
        Ok(compare(TimePoint::read(&arguments.earlier)?, TimePoint::read(&arguments.later)?))
    })?;
    for warning in &found.warnings {
        log::warn!("{warning}");
    }
    if arguments.json {
        talk::lines(&serde_json::to_string_pretty(&found).expect("a comparison is numbers and text"));
        return Ok(ExitCode::SUCCESS);
    }
    for (when, point) in ["earlier", "later"].into_iter().zip(&found.time_points) {
        say!("{when:<8} {:>8.2} mL  {}", point.volume_ml, point.file);
    }
    let percent = found.change_percent.map_or_else(String::new, |percent| format!("  {percent:+.1}%"));
    say!("{:<8} {:>+8.2} mL{percent}", "change", found.change_ml);
    say!("growth above {EXPANSION_ML} mL or {EXPANSION_PERCENT}% (1 yes, 0 no): {}", found.above_6_ml_or_33_percent);
    say!("{}", found.notice);
    Ok(ExitCode::SUCCESS)
}
