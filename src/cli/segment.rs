//! `ichor segment`

use super::{extraction, inference, load_weights, pool, talk};
use crate::cli::arguments::{Save, Segment};
use crate::cli::talk::say;
use ichor::io::dicom::Summary;
use ichor::pipeline::Template;
use ichor::pipeline::batch::{self, Extra, Outcome, Settings};
use ichor::pipeline::inputs;
use ichor::pipeline::postprocess::Postprocessing;
use ichor::pipeline::report::{RESEARCH_USE_ONLY, Report};
use ichor::pipeline::segment::{BrainSource, Options};
use ichor::weights::Weights;
use ichor::{Error, Result};
use std::process::ExitCode;

pub fn run(arguments: &Segment) -> Result<ExitCode> {
    let weights = load_weights(arguments.weights.as_deref())?;
    let jobs = inputs::find(&arguments.inputs)?;
    let jobs = match arguments.shard {
        Some(shard) => shard.jobs(jobs),
        None => jobs,
    };
    let settings = Settings {
        output: arguments.output.clone(),
        options: Options {
            brain: if arguments.brain.skull_stripped {
                BrainSource::SkullStripped
            } else {
                BrainSource::Extract(extraction::Options { method: arguments.brain.brain_method.into() })
            },
            outside_brain: arguments.outside_brain,
            interpolation: arguments.interpolation.into(),
            threshold: arguments.threshold,
            postprocessing: Postprocessing {
                smooth_mm: arguments.postprocessing.smooth,
                fill_holes: arguments.postprocessing.fill_holes,
                min_component_ml: arguments.postprocessing.min_component,
            },
            keep_doubtful: arguments.keep_doubtful,
        },
        brain_mask: arguments.brain.brain_mask.clone(),
        template: Template::load(arguments.template.as_deref())?,
        extras: arguments.save.iter().map(|&save| save.into()).collect(),
        pictures: !arguments.no_picture,
        dicom_report: arguments.dicom_report,
        series: arguments.series.clone(),
        overwrite: arguments.overwrite,
        shard: arguments.shard,
    };
    introduce(&weights);
    if settings.dicom_report && jobs.iter().all(|job| job.study.is_none()) {
        log::warn!("--dicom-report: no input is DICOM, so there will be no NAME_ich_sr.dcm");
    }
    let bar = talk::progress(jobs.len());
    let mut failed = 0;
    let pool = pool(arguments.run.threads)?;
    let mut inference = inference(&weights, &arguments.run, pool.current_num_threads());
    batch::run(&jobs, &settings, &mut inference, &pool, |job, outcome| {
        bar.set_message(job.name.clone());
        bar.inc(1);
        bar.suspend(|| match outcome {
            Outcome::Done(report) => print_report(report, ""),
            Outcome::Skipped(report) => print_report(report, "  (there already)"),
            Outcome::Failed(error) => {
                failed += 1;
                log::error!("{}", naming(error, job));
            }
        });
    })?;
    bar.finish_and_clear();
    if failed > 0 && jobs.len() > 1 {
        log::error!("{failed} of {} scans failed; each has its reason in {}", jobs.len(), settings.table().display());
    }
    Ok(if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Says which weights will work and what they may be used for.
pub fn introduce(weights: &Weights) {
    let origin = weights.metadata().origin.as_deref().unwrap_or("unknown origin");
    log::info!("weights {}: {origin}", weights.name());
    log::info!("{RESEARCH_USE_ONLY}");
}

fn print_report(report: &Report, remark: &str) {
    say!("{}\t{:.2} mL\t{} voxels{remark}", report.name, report.volume_ml, report.voxels);
    for sentence in report.dicom.iter().flat_map(Summary::sentences) {
        log::info!("{}: {sentence}", report.name);
    }
    for warning in &report.warnings {
        log::warn!("{}: {} (warning {})", report.name, warning.text, warning.number);
    }
}

/// The error's sentence, with the scan's file where it names none.
fn naming(error: &Error, job: &inputs::Job) -> String {
    let said = error.to_string();
    let file = job.path.to_string_lossy();
    if said.contains(&*file) { said } else { format!("{file}: {said}") }
}

impl From<Save> for Extra {
    fn from(save: Save) -> Extra {
        match save {
            Save::Brain => Extra::Brain,
            Save::Probability => Extra::Probability,
            Save::Template => Extra::Template,
            Save::Transform => Extra::Transform,
        }
    }
}
