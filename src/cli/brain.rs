//! `ichor brain`

use super::{extraction, spare_inputs, tell_grid, tell_stages, timed, with_threads};
use crate::cli::arguments::Brain;
use crate::cli::talk;
use ichor::Result;
use ichor::batch::inputs;
use ichor::batch::write_mask;
use ichor::scan::segment::{self, BrainSource};
use ichor::volume::orientation;
use std::process::ExitCode;

pub fn run(arguments: &Brain) -> Result<ExitCode> {
    spare_inputs(&arguments.output, Some(&arguments.input), &[])?;
    with_threads(arguments.threads.threads, |_| {
        let scan = timed("reading", || inputs::read_one(&arguments.input, arguments.series.series.as_deref()))?;
        tell_grid("scan", scan.volume.grid());
        let options = extraction::Options { method: arguments.extraction.brain_method.into() };
        let prepared = segment::prepare(scan.volume, &BrainSource::Extract(options), &arguments.input)?;
        tell_stages("scan", &prepared.seconds);
        if !arguments.doubtful.keep_doubtful {
            prepared.check(&arguments.input)?;
        }
        for warning in &prepared.warnings {
            log::warn!("{warning} (warning {})", warning.number());
        }
        let mask = orientation::from_ras(&prepared.brain, &prepared.own_grid);
        write_mask(&arguments.output, &mask, &scan.header)?;
        talk::columns(&[&arguments.output.display(), &format!("{:.1} mL", mask.volume_ml())]);
        Ok(ExitCode::SUCCESS)
    })?
}
