//! `ichor register`

use super::{extraction, spare_inputs, tell_grid, tell_stages, timed, with_threads};
use crate::cli::arguments::Register;
use crate::cli::talk;
use ichor::batch::inputs;
use ichor::io::{mask, nifti, transform};
use ichor::scan::Template;
use ichor::scan::registration;
use ichor::scan::segment::{self, BrainSource};
use ichor::scan::warnings::Warning;
use ichor::{Error, Result};
use std::process::ExitCode;

pub fn run(arguments: &Register) -> Result<ExitCode> {
    for output in [Some(&arguments.output), arguments.save_transform.as_ref()].into_iter().flatten() {
        let others = [arguments.template.template.as_deref(), arguments.brain.brain_mask.as_deref()];
        spare_inputs(output, Some(&arguments.input), &others)?;
    }
    with_threads(arguments.threads.threads, |_| {
        let template = Template::load(arguments.template.template.as_deref())?;
        let scan = timed("reading", || inputs::read_one(&arguments.input, arguments.series.series.as_deref()))?;
        tell_grid("scan", scan.volume.grid());
        tell_grid(&format!("template {}", template.name), template.volume.grid());
        let source = match &arguments.brain.brain_mask {
            Some(mask) => BrainSource::Mask(mask::read_brain(mask)?),
            None if arguments.brain.skull_stripped => BrainSource::SkullStripped,
            None => BrainSource::Extract(extraction::Options { method: arguments.brain.extraction.brain_method.into() }),
        };
        let mut prepared = segment::prepare(scan.volume, &source, &arguments.input)?;
        tell_stages("scan", &prepared.seconds);
        if !arguments.doubtful.keep_doubtful {
            prepared.check(&arguments.input)?;
        }
        let result = timed("registration", || {
            registration::register(&prepared.masked, &template.volume, &registration::Options::default())
        })
        .map_err(Error::registration(&arguments.input))?;
        if result.is_poor() {
            let registration::Registration { overlap, mutual_information, .. } = result;
            let brain_ml = prepared.brain.volume_ml();
            prepared.warnings.push(Warning::PoorRegistration { overlap, mutual_information, brain_ml });
        }
        if !arguments.doubtful.keep_doubtful {
            prepared.check(&arguments.input)?;
        }
        for warning in &prepared.warnings {
            log::warn!("{warning} (warning {})", warning.number());
        }
        let grid = template.volume.grid();
        let method: segment::Interpolation = arguments.resampling.interpolation.into();
        let moved = method.resample(&prepared.masked, grid, &result.template_to_scan)?;
        if let Some(path) = &arguments.save_transform {
            transform::write(path, &result.template_to_scan)?;
        }
        nifti::write(&arguments.output, &moved, &template.header_for(grid)?)?;
        let quality = format!("mutual information {:.4}, overlap {:.3}", result.mutual_information, result.overlap);
        talk::columns(&[&arguments.output.display(), &quality]);
        Ok(ExitCode::SUCCESS)
    })?
}
