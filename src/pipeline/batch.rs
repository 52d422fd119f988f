//! Many scans with one loaded network: outputs, reports and the table, going on where an earlier run stopped.

use crate::inference::Inference;
use crate::io::{atomic, dicom, nifti, transform};
use crate::pipeline::Template;
use crate::pipeline::inputs::{self, Job, Scan};
use crate::pipeline::report::{RESEARCH_USE_ONLY, Report, Row, WeightsIdentity};
use crate::pipeline::segment::{self, BrainSource, Options, Segmentation};
use crate::pipeline::table::Table;
use crate::volume::Volume;
use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// An output besides mask and report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// NAME_brain.nii.gz
    Brain,
    /// NAME_probability.nii.gz
    Probability,
    /// NAME_template.nii.gz and NAME_template_ich.nii.gz
    Template,
    /// NAME_to_template.tfm
    Transform,
}

/// How a batch is done.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of all outputs.
    pub output: PathBuf,
    /// How each scan is segmented.
    pub options: Options,
    /// A brain mask in a file, in place of `options.brain`.
    pub brain_mask: Option<PathBuf>,
    /// What scans are registered to.
    pub template: Template,
    /// Outputs besides mask and report.
    pub extras: Vec<Extra>,
    /// UID or number of the DICOM series to use, in place of the one that the rules choose.
    pub series: Option<String>,
    /// Whether scans are done again whose outputs are there.
    pub overwrite: bool,
}

/// What became of a scan.
#[derive(Debug)]
pub enum Outcome {
    /// It was segmented.
    Done(Box<Report>),
    /// Its outputs were there.
    Skipped(Box<Report>),
    /// It could not be done.
    Failed(Error),
}

impl Settings {
    fn file(&self, name: &str, ending: &str) -> PathBuf {
        self.output.join(format!("{name}_{ending}"))
    }

    fn mask(&self, name: &str) -> PathBuf {
        self.file(name, "ich.nii.gz")
    }

    fn report(&self, name: &str) -> PathBuf {
        self.file(name, "ich.json")
    }

    fn extra(&self, name: &str, extra: Extra) -> Vec<PathBuf> {
        let endings: &[&str] = match extra {
            Extra::Brain => &["brain.nii.gz"],
            Extra::Probability => &["probability.nii.gz"],
            Extra::Template => &["template.nii.gz", "template_ich.nii.gz"],
            Extra::Transform => &["to_template.tfm"],
        };
        endings.iter().map(|ending| self.file(name, ending)).collect()
    }

    /// The report of an earlier run, where all outputs that are asked for now are there. The report is written last.
    fn finished(&self, name: &str) -> Option<Report> {
        if self.overwrite {
            return None;
        }
        let mut outputs = self.extras.iter().flat_map(|&extra| self.extra(name, extra)).chain([self.mask(name)]);
        if !outputs.all(|path| path.is_file()) {
            return None;
        }
        serde_json::from_slice(&fs::read(self.report(name)).ok()?).ok()
    }
}

/// Does every job in order. `done` is told each outcome as soon as it is on disk.
///
/// # Errors
/// [`Error::Write`] where the output folder or the table cannot be written. What is wrong with one scan is its outcome, and its row of the table.
pub fn run(jobs: &[Job], settings: &Settings, inference: &mut Inference, mut done: impl FnMut(&Job, &Outcome)) -> Result<()> {
    fs::create_dir_all(&settings.output).map_err(Error::write(&settings.output))?;
    let weights = WeightsIdentity::of(inference.weights());
    // Rows of scans that will be done now are dropped; rows of other inputs stay.
    let now: std::collections::BTreeSet<&str> =
        jobs.iter().filter(|job| settings.finished(&job.name).is_none()).map(|job| job.name.as_str()).collect();
    let path = settings.output.join("ichor.csv");
    let mut table = Table::open(&path, |row| !now.contains(row.name.as_str()))?;
    let listed: std::collections::BTreeSet<String> = Table::read(&path)?.into_iter().map(|row| row.name).collect();
    for job in jobs {
        let outcome = match settings.finished(&job.name) {
            Some(report) => Outcome::Skipped(Box::new(report)),
            None => match segment_file(job, settings, &weights, inference) {
                Ok(report) => Outcome::Done(Box::new(report)),
                Err(error) => Outcome::Failed(error),
            },
        };
        match &outcome {
            Outcome::Done(report) => table.add(&Row::done(report))?,
            // A kill between the report and its row has left the row out.
            Outcome::Skipped(report) if !listed.contains(&job.name) => table.add(&Row::done(report))?,
            Outcome::Skipped(_) => {}
            Outcome::Failed(error) => table.add(&Row::failed(&job.name, &job.path.to_string_lossy(), &error.to_string()))?,
        }
        done(job, &outcome);
    }
    Ok(())
}

/// Reads, segments and writes one scan.
fn segment_file(job: &Job, settings: &Settings, weights: &WeightsIdentity, inference: &mut Inference) -> Result<Report> {
    let start = Instant::now();
    let Scan { volume, header, warnings: odd, series } = inputs::read(job, settings.series.as_deref())?;
    let mut options = settings.options.clone();
    if let Some(mask) = &settings.brain_mask {
        options.brain = BrainSource::Mask(nifti::read(mask)?.volume.map(|&value| value > 0.0));
    }
    let reading = start.elapsed().as_secs_f64();
    let wants_probability = settings.extras.contains(&Extra::Probability);
    let mut result = segment::segment(volume, &settings.template.volume, &options, wants_probability, inference, &job.path)?;
    result.warnings.extend(odd);
    result.seconds.insert("reading".into(), reading);

    let start = Instant::now();
    write_extras(job, settings, &result, &header)?;
    write_mask(&settings.mask(&job.name), &result.mask, &header)?;
    result.seconds.insert("writing".into(), start.elapsed().as_secs_f64());
    let report = Report {
        name: job.name.clone(),
        input: job.path.to_string_lossy().into_owned(),
        volume_ml: result.volume_ml(),
        voxels: result.voxels(),
        voxel_mm3: result.mask.grid().voxel_mm3(),
        brain_ml: segment::volume_ml(&result.brain),
        threshold: result.threshold,
        weights: weights.clone(),
        template: settings.template.name.clone(),
        device: inference.device(),
        registration: result.quality(),
        seconds: std::mem::take(&mut result.seconds),
        warnings: result.warnings.iter().map(Into::into).collect(),
        dicom: series.as_ref().map(dicom::Summary::of),
        ichor_version: env!("CARGO_PKG_VERSION").into(),
        research_use_only: true,
        notice: RESEARCH_USE_ONLY.into(),
    };
    let json = serde_json::to_vec_pretty(&report).expect("a report is numbers and text");
    atomic::write(settings.report(&job.name), |file| file.write_all(&json))?;
    Ok(report)
}

fn write_extras(job: &Job, settings: &Settings, result: &Segmentation, header: &nifti::Header) -> Result<()> {
    for &extra in &settings.extras {
        let paths: Vec<PathBuf> = settings.extra(&job.name, extra);
        let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        match (extra, &result.registration) {
            (Extra::Brain, _) => write_mask(paths[0], &result.brain, header)?,
            (Extra::Probability, _) => {
                if let Some(probability) = &result.probability {
                    nifti::write(paths[0], probability, header)?;
                }
            }
            (Extra::Template, _) => {
                let fresh = settings.template.header_for(result.network.input.grid())?;
                nifti::write(paths[0], &result.network.input, &fresh)?;
                write_mask(paths[1], &result.network.mask, &fresh)?;
            }
            (Extra::Transform, Some(registration)) => transform::write(paths[0], &registration.template_to_scan)?,
            (Extra::Transform, None) => {
                let problem = "these weights work in the scan's own slices, so there is no transform to save".into();
                return Err(Error::Scan { path: job.path.clone(), problem });
            }
        }
    }
    Ok(())
}

/// Writes a mask as uint8, 0 and 1, on the grid of `header`.
///
/// # Errors
/// As [`nifti::write`].
pub fn write_mask(path: &Path, mask: &Volume<bool>, header: &nifti::Header) -> Result<()> {
    nifti::write(path, &mask.map(|&inside| u8::from(inside)), header)
}
