//! Many scans with one loaded network: outputs, reports and the table, going on where an earlier run stopped.

use crate::batch::inputs::{self, Job, Scan};
use crate::batch::outputs;
use crate::batch::page;
use crate::batch::picture;
use crate::batch::report::{Choices, Extra, Layout, MOST_COMPONENTS, RESEARCH_USE_ONLY, Report, Row, Source, WeightsIdentity};
use crate::batch::resume::{self, Earlier};
use crate::batch::settings::Settings;
use crate::batch::source::{Files, from_root};
use crate::batch::table::Table;
use crate::io::dicom::structured_report::{self, Measurements};
use crate::io::lock::{Lock, PATIENCE};
use crate::io::ownership::remove;
use crate::io::{atomic, dicom, mask, nifti, transform};
use crate::network::inference::Inference;
use crate::network::weights::Weights;
use crate::scan::components::Component;
use crate::scan::segment;
use crate::scan::segment::{BrainSource, Ready, Segmentation};
use crate::scan::warnings::Warning;
use crate::volume::Volume;
use crate::{Error, Result, memory};
use rayon::ThreadPool;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

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
    /// The error of a scan of which a file would be replaced that is no result of an earlier run: one that is read, or
    /// that ichor did not write and that may not be overwritten.
    fn in_the_way(&self, job: &Job) -> Option<Error> {
        let files: Vec<PathBuf> = [self.report(&job.name)].into_iter().chain(self.written(job)).collect();
        let there: Vec<&PathBuf> = files.iter().filter(|path| path.symlink_metadata().is_ok()).collect();
        if there.is_empty() {
            return None;
        }
        if let Some(path) = there.iter().find(|path| self.reads(path)) {
            let problem = format!(
                "{} would be replaced, which this call reads: give another folder (-o) or, for a single scan, another name (--name)",
                path.display()
            );
            return Some(Error::Scan { path: job.path.clone(), problem });
        }
        let own = outputs::of_scan(&self.output, &job.name);
        let path = there.iter().find(|path| !self.overwrite && !own.contains(&file_name(path)))?;
        let problem = format!(
            "{} would be replaced, which no report lists as a result of ichor: give another folder (-o) or, for a single scan, another name (--name), or --overwrite to replace it",
            path.display()
        );
        Some(Error::Scan { path: job.path.clone(), problem })
    }

    /// What an earlier run has left under the name of a scan.
    fn earlier(&self, job: &Job, weights: &Weights) -> Earlier {
        match resume::find(job, self, weights, &self.report(&job.name), &self.written(job)) {
            Earlier::Another(input) => Earlier::Another(input),
            _ if self.overwrite => Earlier::Incomplete,
            earlier => earlier,
        }
    }

    /// The error of a scan whose name is that of the results of another one, which was read from `other`.
    fn taken(&self, job: &Job, other: &str) -> Error {
        let (name, folder) = (&job.name, self.output.display());
        let what = if other == from_root(&job.path) {
            format!("it holds another image than when the results called {name} in {folder} were made of it")
        } else {
            format!("its results would be called {name}, as those in {folder} are that were made of {other}")
        };
        let problem = format!(
            "{what}: give another folder (-o) or, for a single scan, another name (--name), or --overwrite to replace them"
        );
        Error::Scan { path: job.path.clone(), problem }
    }

    /// The scan whose mask has the name that the mask in template space of another has: what `--save template` writes
    /// for `a` is called like the mask of a scan `a_template`. `others` are the names of this run.
    fn mistaken(&self, job: &Job, others: &BTreeSet<&str>) -> Option<Error> {
        let saves = |extras: &[Extra]| extras.contains(&Extra::Template);
        let base = job.name.strip_suffix("_template").map(str::to_string);
        let below = format!("{}_template", job.name);
        let by_earlier = |base: &str| {
            let report = fs::read(self.report(base)).ok().and_then(|text| serde_json::from_slice::<Report>(&text).ok());
            report.and_then(|report| report.choices).is_some_and(|choices| saves(&choices.saved))
        };
        let base = base.filter(|base| by_earlier(base) || (saves(&self.extras) && others.contains(base.as_str())));
        let below = Some(below).filter(|below| saves(&self.extras) && self.report(below).exists());
        let other = base.or(below)?;
        let problem = format!(
            "a mask of it would be called as one of the scan {other} is (--save template): give another folder (-o) or another name (--name)"
        );
        Some(Error::Scan { path: job.path.clone(), problem })
    }
}

/// Does every job in order. `done` is told each outcome as soon as it is on disk.
///
/// A second thread makes the next scan ready (reading, brain, registration) while the network runs, and holds it until the network takes it: two
/// scans are in memory at most, however many there are, and the network never waits while one is ready. All threads that compute are
/// those of `pool`; it must not be the caller's own pool, which would wait for itself. What is computed does not depend on them.
///
/// Several processes may do so in one folder at the same time: the table holds the rows of all, and nobody replaces
/// what another has just made.
///
/// # Errors
/// Before anything is done: [`Error::Scan`] where outputs of another scan, or files that ichor did not write, are there
/// under a job's name and may not be overwritten, and where a file that is read would be. [`Error::Write`] where the output folder or the table cannot be written, [`Error::Table`] where it is
/// none. What is wrong with one scan is its outcome, and its row of the table.
pub fn run(
    jobs: &[Job],
    settings: &Settings,
    inference: &mut Inference,
    pool: &ThreadPool,
    mut done: impl FnMut(&Job, &Outcome),
) -> Result<()> {
    fs::create_dir_all(&settings.output).map_err(Error::write(&settings.output))?;
    let weights = &inference.weights().clone();
    let identity = WeightsIdentity::for_options(&settings.options, weights);
    page::check(&settings.output)?;
    let mut table = Table::of(&settings.table());
    // A kill between a report and its row has left the row out, or a later run that failed has put its own in its
    // place.
    look_before(jobs, settings, weights)?.into_iter().for_each(|row| table.put(row));
    table.write(PATIENCE)?;
    memory::check_threads(1)?;
    // Nothing waits between the two threads: a scan that is ready stays with the one that made it so.
    let (send, receive) = mpsc::sync_channel(0);
    let mut tried = 0;
    let ended = std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().spawn_scoped(scope, move || {
            for job in jobs {
                // The other side has gone where the table cannot be written.
                if send.send(next(job, settings, weights, pool)).is_err() {
                    return;
                }
            }
        });
        reader.map_err(|error| Error::Device(format!("a thread that reads the scans cannot be started: {error}")))?;
        let mut page_due = 1;
        for (number, (job, next)) in jobs.iter().zip(receive).enumerate() {
            tried = number + 1;
            let outcome = match next {
                Next::Finished(report) => Outcome::Skipped(report),
                Next::Ready(waiting) => {
                    let finished = pool.install(|| finish(job, *waiting, settings, &identity, inference, &mut table));
                    finished.unwrap_or_else(Outcome::Failed)
                }
                Next::Failed(error) => Outcome::Failed(error),
            };
            match &outcome {
                Outcome::Done(report) | Outcome::Skipped(report) => table.put(Row::done(report)),
                Outcome::Failed(error) => {
                    if let Earlier::Another(input) = settings.earlier(job, weights) {
                        log::warn!(
                            "{}: it has no row in {}, for {} is the name of {input} there",
                            job.path.display(),
                            settings.table().display(),
                            job.name
                        );
                    } else {
                        table.put(Row::failed(&job.name, &job.path.to_string_lossy(), &error.to_string()));
                    }
                }
            }
            table.write_if_due()?;
            done(job, &outcome);
            // Written whenever the number of scans has doubled, so that a run that is killed has one. Another process
            // may just be at it.
            if jobs.len() > 1 && number + 1 == page_due {
                page_due *= 2;
                match page::refresh(&settings.output, Duration::ZERO) {
                    Err(Error::Write { source, .. }) if source.kind() == io::ErrorKind::TimedOut => {}
                    refreshed => refreshed?,
                }
            }
        }
        table.write(PATIENCE)?;
        page::refresh(&settings.output, PATIENCE)
    });
    if ended.is_err() && tried < jobs.len() {
        log::error!("stopped: {} of {} scans were not tried", jobs.len() - tried, jobs.len());
    }
    ended
}

/// Looks at what is there under the names of all jobs, before anything is done. Gives the rows of those that are done.
fn look_before(jobs: &[Job], settings: &Settings, weights: &Weights) -> Result<Vec<Row>> {
    let names: BTreeSet<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
    let (mut rows, mut taken) = (Vec::new(), Vec::new());
    for job in jobs {
        if let Some(error) = settings.mistaken(job, &names) {
            return Err(error);
        }
        match settings.earlier(job, weights) {
            Earlier::Same(report) => {
                rows.push(Row::done(&report));
                continue;
            }
            Earlier::Another(input) if settings.overwrite => {
                log::warn!("{}: the results of {input} will be replaced, for both are called {}", job.path.display(), job.name);
            }
            Earlier::Another(input) => {
                taken.push(settings.taken(job, &input));
                continue;
            }
            Earlier::Incomplete | Earlier::Different(_) => {}
        }
        if settings.in_the_way(job).is_some() {
            // Another process may just have been at it.
            let _lock = Lock::of(&settings.report(&job.name), PATIENCE)?;
            taken.extend(settings.in_the_way(job));
        }
    }
    let count = taken.len();
    match taken.into_iter().next() {
        None => Ok(rows),
        Some(Error::Scan { path, problem }) if count > 1 => {
            let plural = if count == 2 { "" } else { "s" };
            Err(Error::Scan {
                path,
                problem: format!("{problem} (so it is with {} other input{plural}); nothing was done", count - 1),
            })
        }
        Some(error) => Err(error),
    }
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
    odd: Vec<Warning>,
    origin: Origin,
    /// Seconds of reading.
    reading: f64,
}

/// What the outputs of a scan need of the file that it was read from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub header: nifti::Header,
    /// The DICOM series that it was.
    pub series: Option<dicom::Converted>,
    /// The scan in the brain window, where a picture is asked for.
    pub window: Option<Volume<u8>>,
    /// What was read.
    pub source: Source,
}

/// What made a result.
pub(crate) struct Maker<'a> {
    pub weights: &'a Weights,
    pub identity: &'a WeightsIdentity,
    /// The device that ran the network, in words.
    pub device: String,
}

/// A job up to the network.
fn next(job: &Job, settings: &Settings, weights: &Weights, pool: &ThreadPool) -> Next {
    match settings.earlier(job, weights) {
        Earlier::Same(report) => {
            end_what_was_begun(job, settings);
            return Next::Finished(report);
        }
        Earlier::Different(how) => log::info!("{}: done again, for the results that are there were made with {how}", job.name),
        Earlier::Another(input) if !settings.overwrite => return Next::Failed(settings.taken(job, &input)),
        Earlier::Incomplete | Earlier::Another(_) => {}
    }
    match make_ready(job, settings, weights, pool) {
        Ok(waiting) => Next::Ready(Box::new(waiting)),
        Err(error) => Next::Failed(error),
    }
}

/// Reads a scan and makes it ready. A file that comes slowly keeps no thread of the pool from its work.
fn make_ready(job: &Job, settings: &Settings, weights: &Weights, pool: &ThreadPool) -> Result<Waiting> {
    let start = Instant::now();
    let chosen = job.study.as_ref().and_then(|study| study.choose(settings.series.as_deref()).ok());
    let files = Files::of(job, chosen.as_ref());
    let Scan { volume, header, warnings: odd, series } = inputs::read(job, settings.series.as_deref())?;
    let source = files?.source()?;
    let mut options = settings.options.clone();
    options.probability = settings.extras.contains(&Extra::Probability);
    if let Some(mask) = &settings.brain_mask {
        options.brain = BrainSource::Mask(mask::read_brain(mask)?);
    }
    let reading = start.elapsed().as_secs_f64();
    pool.install(|| {
        let window = settings.pictures.then(|| picture::window(&volume));
        let ready = segment::make_ready(volume, &settings.template.volume, &options, weights, &job.path)?;
        Ok(Waiting { ready, odd, origin: Origin { header, series, window, source }, reading })
    })
}

/// Runs the network on a scan and writes its outputs.
fn finish(
    job: &Job,
    waiting: Waiting,
    settings: &Settings,
    identity: &WeightsIdentity,
    inference: &mut Inference,
    table: &mut Table,
) -> Result<Outcome> {
    let Waiting { ready, odd, origin, reading } = waiting;
    let mut result = segment::find_blood(ready, inference)?;
    result.warnings.extend(odd);
    result.seconds.insert("reading".into(), reading);
    let maker = Maker { weights: inference.weights(), identity, device: inference.device() };
    write_results(job, settings, &maker, &origin, &result, Some(table))
}

/// Writes the outputs of a scan in place of those that an earlier run has left, whose row goes out of the table first.
///
/// # Errors
/// [`Error::Scan`] where results of another scan or files that ichor did not write are in the way, [`Error::Write`].
pub(crate) fn write_results(
    job: &Job,
    settings: &Settings,
    maker: &Maker,
    origin: &Origin,
    result: &Segmentation,
    table: Option<&mut Table>,
) -> Result<Outcome> {
    let start = Instant::now();
    // Another process may be writing under this name, or have done so meanwhile.
    let _lock = Lock::of(&settings.report(&job.name), PATIENCE)?;
    match settings.earlier(job, maker.weights) {
        Earlier::Same(report) => return Ok(Outcome::Skipped(report)),
        Earlier::Another(input) if !settings.overwrite => return Err(settings.taken(job, &input)),
        _ => {}
    }
    if let Some(error) = settings.in_the_way(job) {
        return Err(error);
    }
    let files = replaced(job, settings);
    outputs::begin(&settings.output, &job.name, &files)?;
    if let (Some(table), true) = (table, settings.report(&job.name).exists()) {
        table.remove(&job.name);
        table.write(PATIENCE)?;
    }
    clear(job, settings, &files)?;
    let report = report(job, settings, maker, origin, result);
    let written = write_outputs(job, settings, origin, result, report, start);
    // What was written of a result that failed is none; that it cannot be removed either tells nothing new.
    if written.is_ok() || clear(job, settings, &files).is_ok() {
        let _ = outputs::end(&settings.output, &job.name);
    }
    Ok(Outcome::Done(Box::new(written?)))
}

/// Writes all outputs, the report last.
fn write_outputs(
    job: &Job,
    settings: &Settings,
    origin: &Origin,
    result: &Segmentation,
    mut report: Report,
    start: Instant,
) -> Result<Report> {
    write_extras(job, settings, result, &origin.header)?;
    write_mask(&settings.mask(&job.name), &result.mask, &origin.header)?;
    if let Some(series) = &origin.series {
        write_dicom(job, settings, series, &result.mask, &report)?;
    }
    if let Some(window) = &origin.window {
        report.picture = Some(write_picture(&settings.picture(&job.name), window, result, &report)?);
    }
    report.seconds.insert("writing".into(), start.elapsed().as_secs_f64());
    let mut json = serde_json::to_vec_pretty(&report).expect("a report is numbers and text");
    json.push(b'\n');
    atomic::write(settings.report(&job.name), |file| file.write_all(&json))?;
    Ok(report)
}

/// The names of all files that are removed before a scan is done anew: what this run will write, and the other results
/// of an earlier run.
fn replaced(job: &Job, settings: &Settings) -> BTreeSet<String> {
    let own = outputs::of_scan(&settings.output, &job.name);
    // What is called like a mask in template space may be the mask of another scan.
    let below = format!("{}_template", job.name);
    let of_another = |path: &PathBuf| *path == settings.mask(&below) && settings.report(&below).exists();
    let all = settings.all(&job.name).into_iter();
    let earlier = all.filter(|path| own.contains(&file_name(path)) && !of_another(path) && !settings.reads(path));
    let written = [settings.report(&job.name)].into_iter().chain(settings.written(job));
    earlier.chain(written).map(|path| file_name(&path)).collect()
}

/// Removes `files` of a scan: its report, then all others. After a kill nothing stands beside outputs that were made
/// otherwise, and no report tells of what has gone.
fn clear(job: &Job, settings: &Settings, files: &BTreeSet<String>) -> Result<()> {
    for path in &settings.all(&job.name) {
        if files.contains(&file_name(path)) {
            remove(path)?;
        }
        remove(&atomic::partial(path))?;
    }
    Ok(())
}

/// Takes away what tells of results in the making, which a kill may leave beside a report that is whole.
fn end_what_was_begun(job: &Job, settings: &Settings) {
    if outputs::begun(&settings.output, &job.name).exists()
        && let Ok(_lock) = Lock::of(&settings.report(&job.name), Duration::ZERO)
    {
        // It does no harm where it stays.
        let _ = outputs::end(&settings.output, &job.name);
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The report of a result that has no picture yet.
pub(crate) fn report(job: &Job, settings: &Settings, maker: &Maker, origin: &Origin, result: &Segmentation) -> Report {
    Report {
        name: job.name.clone(),
        input: job.path.to_string_lossy().into_owned(),
        volume_ml: result.volume_ml(),
        voxels: result.voxels(),
        component_count: result.components.len(),
        components: result.components.iter().take(MOST_COMPONENTS).cloned().collect(),
        second_opinion: result.second_opinion.clone(),
        voxel_mm3: result.mask.grid().voxel_mm3(),
        brain_ml: result.brain.volume_ml(),
        threshold: result.threshold,
        postprocessing: settings.options.postprocessing,
        choices: Some(Choices::of(job, settings)),
        source: Some(origin.source.clone()),
        weights: maker.identity.clone(),
        template: settings.template.name.clone(),
        device: maker.device.clone(),
        registration: result.quality(),
        picture: None,
        outputs: settings.written(job).iter().map(|path| file_name(path)).collect(),
        seconds: result.seconds.clone(),
        warnings: result.warnings.iter().map(Into::into).collect(),
        doubtful: result.is_doubtful(),
        dicom: origin.series.as_ref().map(dicom::Summary::of),
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

fn write_picture(path: &Path, window: &Volume<u8>, result: &Segmentation, report: &Report) -> Result<Layout> {
    let (canvas, layout) = picture::draw(window, &result.brain, &result.mask, result.unseen.as_ref(), report);
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
    Ok(nifti::write(path, &mask.map(|&inside| u8::from(inside)), header)?)
}
