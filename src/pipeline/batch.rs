//! Many scans with one loaded network: outputs, reports and the table, going on where an earlier run stopped.

use crate::inference::Inference;
use crate::io::dicom::structured_report::{self, Measurements};
use crate::io::{atomic, dicom, nifti, transform};
use crate::pipeline::Template;
use crate::pipeline::components::Component;
use crate::pipeline::inputs::{self, Job, Scan, Shard};
use crate::pipeline::report::{MOST_COMPONENTS, RESEARCH_USE_ONLY, Report, Row, WeightsIdentity};
use crate::pipeline::resume::{self, Choices, Earlier};
use crate::pipeline::segment::{self, BrainSource, Options, Ready, Segmentation};
use crate::pipeline::table::Table;
use crate::pipeline::warnings::Warning;
use crate::pipeline::{page, picture};
use crate::volume::Volume;
use crate::weights::Weights;
use crate::{Error, Result};
use rayon::ThreadPool;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Instant;

/// An output besides mask and report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
    /// Whether each scan gets a picture.
    pub pictures: bool,
    /// Whether each DICOM scan gets a structured report too.
    pub dicom_report: bool,
    /// UID or number of the DICOM series to use, in place of the one that the rules choose.
    pub series: Option<String>,
    /// Whether scans are done again whose outputs are there and would come out the same.
    pub overwrite: bool,
    /// The part of a collection that the jobs are: it has a table and a page of its own, so that parts can be done at the same time.
    pub shard: Option<Shard>,
}

/// What became of a scan.
#[derive(Debug)]
pub enum Outcome {
    /// It was segmented.
    Done(Box<Report>),
    /// Its outputs were there, made of the same series with the same weights and options.
    Skipped(Box<Report>),
    /// It could not be done.
    Failed(Error),
}

impl Settings {
    fn file(&self, name: &str, ending: &str) -> PathBuf {
        self.output.join(format!("{name}_{ending}"))
    }

    /// ichor.csv, or that of the part.
    pub fn table(&self) -> PathBuf {
        self.output.join(self.shard.map_or_else(|| "ichor.csv".into(), |shard| format!("ichor_{shard}.csv")))
    }

    /// ichor.html, or that of the part.
    pub fn page(&self) -> PathBuf {
        self.table().with_extension("html")
    }

    fn mask(&self, name: &str) -> PathBuf {
        self.file(name, "ich.nii.gz")
    }

    fn report(&self, name: &str) -> PathBuf {
        self.file(name, "ich.json")
    }

    fn picture(&self, name: &str) -> PathBuf {
        self.file(name, "ich.png")
    }

    fn segmentation(&self, name: &str) -> PathBuf {
        self.file(name, "ich.dcm")
    }

    fn structured_report(&self, name: &str) -> PathBuf {
        self.file(name, "ich_sr.dcm")
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

    /// What an earlier run has left of a scan.
    fn earlier(&self, job: &Job, weights: &Weights) -> Earlier {
        if self.overwrite {
            return Earlier::Incomplete;
        }
        let name = &job.name;
        let extras = self.extras.iter().flat_map(|&extra| self.extra(name, extra));
        let picture = self.pictures.then(|| self.picture(name));
        let segmentation = job.study.is_some().then(|| self.segmentation(name));
        let structured_report = (job.study.is_some() && self.dicom_report).then(|| self.structured_report(name));
        let outputs: Vec<PathBuf> =
            extras.chain([self.mask(name)]).chain(picture).chain(segmentation).chain(structured_report).collect();
        resume::find(job, self, weights, &self.report(name), &outputs)
    }
}

/// Does every job in order. `done` is told each outcome as soon as it is on disk.
///
/// A second thread makes the next scan ready (reading, brain, registration) while the network runs, and holds it until the network takes it: two
/// scans are in memory at most, however many there are, and the network never waits while one is ready. All threads that compute are
/// those of `pool`; it must not be the caller's own pool, which would wait for itself. What is computed does not depend on them.
///
/// # Errors
/// [`Error::Write`] where the output folder or the table cannot be written. What is wrong with one scan is its outcome, and its row of the table.
pub fn run(
    jobs: &[Job],
    settings: &Settings,
    inference: &mut Inference,
    pool: &ThreadPool,
    mut done: impl FnMut(&Job, &Outcome),
) -> Result<()> {
    fs::create_dir_all(&settings.output).map_err(Error::write(&settings.output))?;
    let weights = inference.weights();
    let identity = WeightsIdentity::of(weights);
    // Of the scans that are done, only the row of what is there stays; rows of scans that will be done now are dropped; rows of other inputs stay.
    let there: BTreeMap<&str, Option<Row>> =
        jobs.iter().map(|job| (job.name.as_str(), row_there(job, settings, weights))).collect();
    let path = settings.table();
    let mut table = Table::open(&path, |row| there.get(row.name.as_str()).is_none_or(|there| there.as_ref() == Some(row)))?;
    let listed: BTreeSet<String> = Table::read(&path)?.into_iter().map(|row| row.name).collect();
    // Nothing waits between the two threads: a scan that is ready stays with the one that made it so.
    let (send, receive) = mpsc::sync_channel(0);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for job in jobs {
                // The other side has gone where the table cannot be written.
                if send.send(next(job, settings, weights, pool)).is_err() {
                    return;
                }
            }
        });
        let mut page_due = 1;
        for (number, (job, next)) in jobs.iter().zip(receive).enumerate() {
            let outcome = match next {
                Next::Finished(report) => Outcome::Skipped(report),
                Next::Ready(waiting) => match pool.install(|| finish(job, *waiting, settings, &identity, inference)) {
                    Ok(report) => Outcome::Done(Box::new(report)),
                    Err(error) => Outcome::Failed(error),
                },
                Next::Failed(error) => Outcome::Failed(error),
            };
            match &outcome {
                Outcome::Done(report) => table.add(&Row::done(report))?,
                // A kill between the report and its row has left the row out, or a later run that failed has put its own in its place.
                Outcome::Skipped(report) if !listed.contains(&job.name) => table.add(&Row::done(report))?,
                Outcome::Skipped(_) => {}
                Outcome::Failed(error) => {
                    table.add(&Row::failed(&job.name, &job.path.to_string_lossy(), &error.to_string()))?;
                }
            }
            done(job, &outcome);
            // Written whenever the number of scans has doubled, so that a run that is killed has one, and at the end.
            if jobs.len() > 1 && (number + 1 == page_due || number + 1 == jobs.len()) {
                page_due *= 2;
                page::write(&settings.page(), &Table::read(&path)?, &settings.output)?;
            }
        }
        Ok(())
    })
}

/// What the network's thread gets for each job.
enum Next {
    /// Its outputs are there.
    Finished(Box<Report>),
    /// It can be done.
    Ready(Box<Waiting>),
    /// It cannot.
    Failed(Error),
}

/// A scan that is ready for the network, and what its outputs need of the file.
struct Waiting {
    ready: Ready,
    header: nifti::Header,
    odd: Vec<Warning>,
    /// The DICOM series that it was.
    series: Option<dicom::Converted>,
    /// The scan in the brain window, where a picture is asked for.
    window: Option<Volume<u8>>,
    /// Seconds of reading.
    reading: f64,
}

/// A job up to the network.
fn next(job: &Job, settings: &Settings, weights: &Weights, pool: &ThreadPool) -> Next {
    match settings.earlier(job, weights) {
        Earlier::Same(report) => return Next::Finished(report),
        Earlier::Different(how) => log::info!("{}: done again, for the results that are there were made with {how}", job.name),
        Earlier::Incomplete => {}
    }
    match make_ready(job, settings, weights, pool) {
        Ok(waiting) => Next::Ready(Box::new(waiting)),
        Err(error) => Next::Failed(error),
    }
}

/// The row of a scan whose outputs are there.
fn row_there(job: &Job, settings: &Settings, weights: &Weights) -> Option<Row> {
    match settings.earlier(job, weights) {
        Earlier::Same(report) => Some(Row::done(&report)),
        _ => None,
    }
}

/// Reads a scan and makes it ready. A file that comes slowly keeps no thread of the pool from its work.
fn make_ready(job: &Job, settings: &Settings, weights: &Weights, pool: &ThreadPool) -> Result<Waiting> {
    let start = Instant::now();
    let Scan { volume, header, warnings: odd, series } = inputs::read(job, settings.series.as_deref())?;
    let mut options = settings.options.clone();
    if let Some(mask) = &settings.brain_mask {
        options.brain = BrainSource::Mask(nifti::read(mask)?.volume.map(|&value| value > 0.0));
    }
    let reading = start.elapsed().as_secs_f64();
    pool.install(|| {
        let window = settings.pictures.then(|| picture::window(&volume));
        let ready = segment::make_ready(volume, &settings.template.volume, &options, weights, &job.path)?;
        Ok(Waiting { ready, header, odd, series, window, reading })
    })
}

/// Runs the network on a scan and writes its outputs.
fn finish(
    job: &Job,
    waiting: Waiting,
    settings: &Settings,
    weights: &WeightsIdentity,
    inference: &mut Inference,
) -> Result<Report> {
    let Waiting { ready, header, odd, series, window, reading } = waiting;
    let wants_probability = settings.extras.contains(&Extra::Probability);
    let mut result = segment::find_blood(ready, &settings.template.volume, &settings.options, wants_probability, inference)?;
    result.warnings.extend(odd);
    result.seconds.insert("reading".into(), reading);

    let start = Instant::now();
    // A kill between two outputs must not leave the report of others beside them, nor this run a structured report of another mask.
    remove(&settings.report(&job.name))?;
    remove(&settings.structured_report(&job.name))?;
    write_extras(job, settings, &result, &header)?;
    write_mask(&settings.mask(&job.name), &result.mask, &header)?;
    let mut report = report(job, settings, weights, inference, &result);
    if let Some(series) = &series {
        report.dicom = Some(dicom::Summary::of(series));
        write_dicom(job, settings, series, &result.mask, &report)?;
    }
    if let Some(window) = window {
        report.picture = Some(write_picture(&settings.picture(&job.name), &window, &result, &report)?);
    }
    report.seconds.insert("writing".into(), start.elapsed().as_secs_f64());
    let json = serde_json::to_vec_pretty(&report).expect("a report is numbers and text");
    atomic::write(settings.report(&job.name), |file| file.write_all(&json))?;
    Ok(report)
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::write(path)(error)),
        _ => Ok(()),
    }
}

/// The report of a result that has no picture yet.
fn report(job: &Job, settings: &Settings, weights: &WeightsIdentity, inference: &Inference, result: &Segmentation) -> Report {
    Report {
        name: job.name.clone(),
        input: job.path.to_string_lossy().into_owned(),
        volume_ml: result.volume_ml(),
        voxels: result.voxels(),
        component_count: result.components.len(),
        components: result.components.iter().take(MOST_COMPONENTS).cloned().collect(),
        voxel_mm3: result.mask.grid().voxel_mm3(),
        brain_ml: segment::volume_ml(&result.brain),
        threshold: result.threshold,
        postprocessing: settings.options.postprocessing,
        choices: Some(Choices::of(job, settings)),
        weights: weights.clone(),
        template: settings.template.name.clone(),
        device: inference.device(),
        registration: result.quality(),
        picture: None,
        seconds: result.seconds.clone(),
        warnings: result.warnings.iter().map(Into::into).collect(),
        doubtful: result.is_doubtful(),
        dicom: None,
        ichor_version: env!("CARGO_PKG_VERSION").into(),
        research_use_only: true,
        notice: RESEARCH_USE_ONLY.into(),
    }
}

/// Writes the segmentation of a DICOM series, and the structured report where it is asked for.
fn write_dicom(job: &Job, settings: &Settings, series: &dicom::Converted, mask: &Volume<bool>, report: &Report) -> Result<()> {
    let algorithm = algorithm(report);
    let uids = dicom::segmentation::write(&settings.segmentation(&job.name), series, mask, &algorithm)?;
    if settings.dicom_report {
        let path = settings.structured_report(&job.name);
        structured_report::write(&path, series, &uids, &measurements(report), &algorithm)?;
    }
    Ok(())
}

/// What a structured report says: the same as the report.
fn measurements(report: &Report) -> Measurements {
    let corrections = report.dicom.iter().flat_map(dicom::Summary::sentences);
    let warnings = report.warnings.iter().map(|warning| format!("Warning {}: {}", warning.number, warning.text));
    let count = report.component_count;
    let component = |(n, Component { volume_ml, side, .. }): (usize, &Component)| {
        format!("Component {n} of {count}: {volume_ml:.2} mL, {side}")
    };
    let components = (1..).zip(&report.components).map(component);
    let remarks = corrections.chain(warnings).chain(components).collect();
    Measurements { volume_ml: report.volume_ml, remarks }
}

/// What made a result, for DICOM.
fn algorithm(report: &Report) -> dicom::Algorithm {
    let after = serde_json::to_string(&report.postprocessing).expect("post-processing is numbers and truths");
    dicom::Algorithm {
        weights: report.weights.name.clone(),
        sha256: report.weights.sha256.clone(),
        parameters: format!("template {}, threshold {}, after the network {after}", report.template, report.threshold),
    }
}

fn write_picture(path: &Path, window: &Volume<u8>, result: &Segmentation, report: &Report) -> Result<picture::Layout> {
    let (canvas, layout) = picture::draw(window, &result.brain, &result.mask, report);
    let png = canvas.png().map_err(Error::write(path))?;
    atomic::write(path, |file| file.write_all(&png))?;
    Ok(layout)
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
