//! `ichor segment`

use super::progress::Progress;
use super::{extraction, inference, load_weights, pool, tell_stages, timed};
use crate::cli::arguments::Segment;
use crate::cli::talk;
use ichor::batch::inputs;
use ichor::batch::report::{RESEARCH_USE_ONLY, Report};
use ichor::batch::{self, Outcome, Settings};
use ichor::io::dicom::Summary;
use ichor::io::mask;
use ichor::network::weights::Weights;
use ichor::scan::Template;
use ichor::scan::pitchperfect::normals::Normals;
use ichor::scan::postprocess::Postprocessing;
use ichor::scan::second_opinion::Method;
use ichor::scan::segment::{self, BrainSource, Options};
use ichor::words::counted;
use ichor::{Error, Result};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

pub fn run(arguments: &Segment) -> Result<ExitCode> {
    if arguments.drop_unseen && arguments.method.0 != Method::Network {
        let problem = "--drop-unseen is for a network: --method pitchperfect has no second method beside it".into();
        return Err(Error::Scan { path: arguments.inputs[0].clone(), problem });
    }
    let weights = load_weights(arguments.weights.weights.as_deref())?;
    let mut jobs = timed("finding of the scans", || inputs::find(&arguments.inputs))?;
    log::debug!("{}", counted(jobs.len(), "scan"));
    if let Some(name) = &arguments.name {
        let [job] = &mut jobs[..] else {
            let problem = format!("--name is for a single scan, and there are {}: leave it out, or give one of them", jobs.len());
            return Err(Error::Scan { path: arguments.inputs[0].clone(), problem });
        };
        job.name.clone_from(name);
    }
    let mut read = inputs::files(&jobs);
    let others = [&arguments.weights.weights, &arguments.template.template, &arguments.brain.brain_mask, &arguments.normals]
        .into_iter()
        .flatten();
    read.extend(others.filter_map(|path| path.canonicalize().ok()));
    if let Some(shard) = arguments.shard {
        jobs = shard.jobs(jobs);
    }
    let settings = settings(arguments, read)?;
    if let Some(path) = &settings.brain_mask {
        // What is no brain mask is none for any of the scans.
        mask::read_brain(path)?;
    }
    match settings.options.method {
        Method::Network => introduce(&weights),
        Method::Pitchperfect => {
            log::info!("{}: {}", ichor::scan::pitchperfect::NAME, ichor::scan::pitchperfect::ORIGIN);
            log::info!("{RESEARCH_USE_ONLY}");
        }
    }
    if settings.dicom_report && jobs.iter().all(|job| job.study.is_none()) {
        log::warn!("--dicom-report: no input is DICOM, so there will be no NAME_ich_sr.dcm");
    }
    let mut progress = Progress::of(jobs.len());
    let mut failed = 0;
    let pool = pool(arguments.run.threads)?;
    let mut inference = inference(&weights, &arguments.run, pool.current_num_threads());
    if arguments.run.device.has_grades() && settings.options.method == Method::Network {
        // A GPU that cannot be used is told before the first scan is read. A CPU packs the weights while that is done.
        inference.load(segment::network_shape(&weights, &settings.template))?;
    }
    batch::run(&jobs, &settings, &mut inference, &pool, |job, outcome| {
        progress.suspend(|| match outcome {
            Outcome::Done(report) => print_report(report, false),
            Outcome::Skipped(report) => print_report(report, true),
            Outcome::Failed(error) => {
                failed += 1;
                log::error!("{}", naming(error, job));
            }
        });
        progress.step(&job.name, !matches!(outcome, Outcome::Skipped(_)));
    })?;
    progress.end();
    if failed > 0 && jobs.len() > 1 {
        log::error!("{failed} of {} scans failed; each has its reason in {}", jobs.len(), settings.table().display());
    }
    Ok(if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What the arguments ask for; `read` are the files that may not be written.
fn settings(arguments: &Segment, read: BTreeSet<PathBuf>) -> Result<Settings> {
    Ok(Settings {
        output: arguments.output.clone(),
        options: Options {
            method: arguments.method.into(),
            second_opinion: !arguments.no_second_opinion,
            drop_unseen: arguments.drop_unseen,
            normals: arguments.normals.as_deref().map(Normals::read).transpose()?.map(Arc::new),
            brain: if arguments.brain.skull_stripped {
                BrainSource::SkullStripped
            } else {
                BrainSource::Extract(extraction::Options { method: arguments.brain.extraction.brain_method.into() })
            },
            outside_brain: arguments.outside_brain,
            interpolation: arguments.resampling.interpolation.into(),
            threshold: arguments.threshold,
            postprocessing: Postprocessing {
                smooth_mm: arguments.postprocessing.smooth,
                fill_holes: arguments.postprocessing.fill_holes,
                min_component_ml: arguments.postprocessing.min_component,
            },
            // Asked for by what is saved.
            probability: false,
            keep_doubtful: arguments.doubtful.keep_doubtful,
        },
        brain_mask: arguments.brain.brain_mask.clone(),
        template: Template::load(arguments.template.template.as_deref())?,
        extras: arguments.save.iter().map(|&save| save.into()).collect(),
        pictures: !arguments.no_picture,
        dicom_report: arguments.dicom_report,
        series: arguments.series.series.clone(),
        inputs: read,
        overwrite: arguments.overwrite,
    })
}

/// Says which weights will work and what they may be used for.
pub fn introduce(weights: &Weights) {
    let origin = weights.metadata().origin.as_deref().unwrap_or("unknown origin");
    log::info!("weights {}: {origin}", weights.name());
    log::info!("{RESEARCH_USE_ONLY}");
}

fn print_report(report: &Report, skipped: bool) {
    let Report { name, weights, template, device, threshold, voxel_mm3, brain_ml, .. } = report;
    log::debug!("{name}: weights {}, template {template}, threshold {threshold}, {device}", weights.name);
    log::debug!("{name}: voxels of {voxel_mm3:.3} mm3, brain {brain_ml:.1} mL, {} components", report.component_count);
    if let Some(quality) = &report.registration {
        log::debug!("{name}: registration {quality:?}");
    }
    tell_stages(name, &report.seconds);
    let voxels = counted(report.voxels, "voxel") + &remarks(report, skipped);
    talk::columns(&[&report.name, &format!("{:.2} mL", report.volume_ml), &voxels]);
    for sentence in report.dicom.iter().flat_map(Summary::sentences) {
        log::info!("{}: {sentence}", report.name);
    }
    for warning in &report.warnings {
        log::warn!("{}: {} (warning {})", report.name, warning.text, warning.number);
    }
}

/// What stands behind a result: whether it is of an earlier run, whether it cannot be right and was kept all the same,
/// and which warnings it has.
fn remarks(report: &Report, skipped: bool) -> String {
    let numbers: BTreeSet<u8> = report.warnings.iter().map(|warning| warning.number).collect();
    let numbers: Vec<String> = numbers.iter().map(u8::to_string).collect();
    let plural = if numbers.len() == 1 { "" } else { "s" };
    let doubtful = if report.doubtful { "doubtful: " } else { "" };
    let warnings = (!numbers.is_empty()).then(|| format!("{doubtful}warning{plural} {}", numbers.join(", ")));
    let remarks: Vec<String> = skipped.then(|| "there already".to_string()).into_iter().chain(warnings).collect();
    if remarks.is_empty() { String::new() } else { format!("  ({})", remarks.join("; ")) }
}

/// The error's sentence, with the scan's file where it names none.
fn naming(error: &Error, job: &inputs::Job) -> String {
    let said = error.to_string();
    let file = job.path.to_string_lossy();
    if said.contains(&*file) { said } else { format!("{file}: {said}") }
}
