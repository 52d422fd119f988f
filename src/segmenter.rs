//! The front door: a scan in, the hemorrhage out.

use crate::batch::inputs::{Job, Only};
use crate::batch::report::{Report, Source, WeightsIdentity};
use crate::batch::run::{Maker, Origin, report, write_results};
use crate::batch::source::Files;
use crate::batch::{Outcome, Settings, inputs, picture};
use crate::io::{dicom, nifti};
use crate::network::device::{Device, Grade};
use crate::network::inference::Inference;
use crate::network::weights::Weights;
use crate::scan::Template;
use crate::scan::components::Component;
use crate::scan::segment::{self, Options, Ready, Segmentation};
use crate::scan::warnings::Warning;
use crate::volume::Volume;
use crate::words::counted;
use crate::{Error, Result, memory};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Whether this build draws pictures.
const PICTURES: bool = cfg!(feature = "report");

/// A scan that was read: HU on their grid, and what outputs on that grid need of the file.
#[derive(Clone, Debug)]
pub struct Scan {
    job: Job,
    series_wanted: Option<String>,
    volume: Volume<f32>,
    header: nifti::Header,
    warnings: Vec<Warning>,
    series: Option<dicom::Converted>,
    source: Source,
    reading: f64,
}

impl Scan {
    /// Reads a NIfTI file, a DICOM file with its series, or a folder that holds one scan. Of several DICOM series in a
    /// study the rules of docs/dicom.md choose one.
    ///
    /// # Errors
    /// Where the scan cannot be read, and where there are several studies or files: the sentence says which and what to
    /// give.
    pub fn open(path: impl AsRef<Path>) -> Result<Scan> {
        Scan::read(path.as_ref(), None)
    }

    /// As [`Scan::open`], with the DICOM series of this UID or number.
    ///
    /// # Errors
    /// As [`Scan::open`], and where there is no such series.
    pub fn open_series(path: impl AsRef<Path>, series: &str) -> Result<Scan> {
        Scan::read(path.as_ref(), Some(series))
    }

    /// A scan in memory, in HU. `name` is what its outputs and the messages about it are called.
    ///
    /// # Errors
    /// [`Error::Scan`] and [`Error::Nifti`] for a grid that no file can have.
    pub fn from_volume(name: &str, volume: Volume<f32>) -> Result<Scan> {
        let source = Source::of_volume(&volume);
        Ok(Scan {
            job: Job { name: name.into(), path: name.into(), study: None, memory: Some(source.clone()) },
            series_wanted: None,
            header: nifti::Header::for_scanner(volume.grid())?,
            warnings: Vec::new(),
            series: None,
            source,
            volume,
            reading: 0.0,
        })
    }

    fn read(path: &Path, series: Option<&str>) -> Result<Scan> {
        let start = Instant::now();
        let only = Only::of(path, series)?;
        let chosen = only.job.study.as_ref().and_then(|study| study.choose(series).ok());
        // The state of the files before they are read: what is changed meanwhile is told from what was read.
        let files = Files::of(&only.job, chosen.as_ref());
        let inputs::Scan { volume, header, warnings, series: converted } = only.read(series)?;
        let (source, reading) = (files?.source()?, start.elapsed().as_secs_f64());
        let series_wanted = series.map(str::to_string);
        Ok(Scan { job: only.job, series_wanted, volume, header, warnings, series: converted, source, reading })
    }

    /// What its outputs are called: the file's or folder's name.
    pub fn name(&self) -> &str {
        &self.job.name
    }

    /// HU on the scan's own grid, with its own order of axes; NIfTI's world (RAS mm), also for DICOM.
    pub fn volume(&self) -> &Volume<f32> {
        &self.volume
    }

    /// What is odd about the file or the series.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

/// Settings of a [`Segmenter`] in the making: [`Segmenter::builder`].
#[derive(Debug, Default)]
#[must_use = "it makes nothing before build()"]
pub struct SegmenterBuilder {
    weights: Option<PathBuf>,
    loaded: Option<Weights>,
    template: Option<PathBuf>,
    device: Option<Device>,
    grade: Grade,
    threads: Option<NonZeroUsize>,
    options: Options,
}

impl SegmenterBuilder {
    /// A weights file; the built-in weights if this is not called.
    pub fn weights(mut self, file: impl AsRef<Path>) -> Self {
        self.weights = Some(file.as_ref().to_path_buf());
        self
    }

    /// Weights that are loaded already, in place of a file.
    pub fn loaded_weights(mut self, weights: &Weights) -> Self {
        self.loaded = Some(weights.clone());
        self
    }

    /// A template file (a brain-extracted CT in HU); the built-in template if this is not called.
    pub fn template(mut self, file: impl AsRef<Path>) -> Self {
        self.template = Some(file.as_ref().to_path_buf());
        self
    }

    /// The device that runs the network; [`Device::Auto`] if this is not called.
    pub fn device(mut self, device: Device) -> Self {
        self.device = Some(device);
        self
    }

    /// How exactly a CUDA device computes; [`Grade::Exact`] if this is not called.
    pub fn grade(mut self, grade: Grade) -> Self {
        self.grade = grade;
        self
    }

    /// Threads of every stage on the CPU; all cores if this is not called, or for 0.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = NonZeroUsize::new(threads);
        self
    }

    /// How each scan is segmented; [`Options::default`] if this is not called.
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Loads everything: weights, template, and the network on the device.
    ///
    /// # Errors
    /// Where weights or template cannot be read, the device cannot run here, or threads or memory cannot be had.
    pub fn build(self) -> Result<Segmenter> {
        let device = self.device.unwrap_or(Device::Auto);
        device.check()?;
        let weights = match (self.loaded, &self.weights) {
            (Some(weights), _) => weights,
            (None, Some(file)) => Weights::open(file)?,
            (None, None) => Weights::built_in()?,
        };
        let template = Template::load(self.template.as_deref())?;
        let threads = self.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        memory::check_threads(threads)?;
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| Error::Device(format!("{} cannot be started: {error}", counted(threads, "thread"))))?;
        let mut inference = Inference::new(&weights, device, threads).with_grade(self.grade);
        let shape = segment::network_shape(&weights, &template);
        pool.install(|| inference.load(shape))?;
        let identity = WeightsIdentity::for_options(&self.options, &weights);
        let shared = Shared { weights, identity, template, options: self.options, pool };
        Ok(Segmenter { preparer: Preparer(Arc::new(shared)), inference })
    }
}

/// What all scans have in common.
#[derive(Debug)]
struct Shared {
    weights: Weights,
    identity: WeightsIdentity,
    template: Template,
    options: Options,
    /// The threads of every stage.
    pool: ThreadPool,
}

/// A loaded network with its template, ready for scan after scan: kept for the life of a service.
///
/// ```no_run
/// let mut segmenter = ichor::Segmenter::builder().weights("weights.safetensors").threads(4).build()?;
/// let scan = ichor::Scan::open("ct.nii.gz")?;
/// let found = segmenter.segment(&scan)?;
/// println!("{:.2} mL in {} pieces", found.volume_ml(), found.components().len());
/// found.save("results/ct")?;
/// # Ok::<(), ichor::Error>(())
/// ```
pub struct Segmenter {
    preparer: Preparer,
    inference: Inference,
}

impl Segmenter {
    /// Built-in weights and template, the CPU, all cores, until it is told otherwise.
    pub fn builder() -> SegmenterBuilder {
        SegmenterBuilder::default()
    }

    /// Finds the hemorrhage in a scan: [`Preparer::prepare`], then [`Segmenter::find`].
    ///
    /// # Errors
    /// Where the scan is no head CT that can be segmented, a result cannot be right (unless
    /// [`Options::keep_doubtful`]), or the device reports something.
    pub fn segment(&mut self, scan: &Scan) -> Result<Finding> {
        let prepared = self.preparer.prepare(scan)?;
        self.find(prepared)
    }

    /// The first half, which needs no device: for another thread, while the network runs on the scan before.
    pub fn preparer(&self) -> Preparer {
        self.preparer.clone()
    }

    /// The second half: the network, and its answer on the scan's own grid. Options and template are those that the scan
    /// was prepared with.
    ///
    /// # Errors
    /// As [`Segmenter::segment`]; [`Error::Shape`] for a scan that was prepared for other weights, which its report would
    /// name.
    pub fn find(&mut self, prepared: Prepared) -> Result<Finding> {
        let [made_for, own] = [&prepared.shared.weights, self.weights()];
        if made_for.sha256() != own.sha256() {
            let (scan, made_for, own) = (&prepared.job.name, made_for.name(), own.name());
            return Err(Error::Shape(format!(
                "{scan}: it was prepared for the weights {made_for}, not for {own}: prepare it by this segmenter's preparer"
            )));
        }
        let Prepared { ready, job, series_wanted, warnings, origin, reading, shared } = prepared;
        let inference = &mut self.inference;
        let mut segmentation = self.preparer.0.pool.install(|| segment::find_blood(ready, inference))?;
        segmentation.warnings.extend(warnings);
        segmentation.seconds.insert("reading".into(), reading);
        Ok(Finding { segmentation, job, series_wanted, origin, device: self.inference.device(), shared })
    }

    /// The device that runs the network, in words.
    pub fn device(&self) -> String {
        self.inference.device()
    }

    /// The weights.
    pub fn weights(&self) -> &Weights {
        &self.preparer.0.weights
    }
}

/// The first half of a [`Segmenter`]: brain, registration, resampling. A clone is the same one.
#[derive(Clone, Debug)]
pub struct Preparer(Arc<Shared>);

impl Preparer {
    /// Makes a scan ready for the network.
    ///
    /// # Errors
    /// As [`Segmenter::segment`], but for what the device reports.
    pub fn prepare(&self, scan: &Scan) -> Result<Prepared> {
        let Shared { weights, template, options, pool, .. } = &*self.0;
        let (ready, window) = pool.install(|| {
            let window = PICTURES.then(|| picture::window(&scan.volume));
            let ready = segment::make_ready(scan.volume.clone(), &template.volume, options, weights, &scan.job.path)?;
            Ok::<_, Error>((ready, window))
        })?;
        let origin = Origin { header: scan.header.clone(), series: scan.series.clone(), window, source: scan.source.clone() };
        Ok(Prepared {
            ready,
            job: scan.job.clone(),
            series_wanted: scan.series_wanted.clone(),
            warnings: scan.warnings.clone(),
            origin,
            reading: scan.reading,
            shared: self.0.clone(),
        })
    }
}

/// A scan that waits for the network, with all that its outputs need.
#[derive(Debug)]
pub struct Prepared {
    ready: Ready,
    job: Job,
    series_wanted: Option<String>,
    warnings: Vec<Warning>,
    origin: Origin,
    reading: f64,
    shared: Arc<Shared>,
}

/// What was found in a scan. For research use, not for diagnosis.
#[derive(Debug)]
pub struct Finding {
    segmentation: Segmentation,
    job: Job,
    series_wanted: Option<String>,
    origin: Origin,
    device: String,
    shared: Arc<Shared>,
}

impl Finding {
    /// The hemorrhage, on the scan's own grid.
    pub fn mask(&self) -> &Volume<bool> {
        &self.segmentation.mask
    }

    /// Volume of the hemorrhage in mL: voxels times the volume of a voxel, from the affine.
    pub fn volume_ml(&self) -> f64 {
        self.segmentation.volume_ml()
    }

    /// The hemorrhage's connected components, the largest first.
    pub fn components(&self) -> &[Component] {
        &self.segmentation.components
    }

    /// What should be known before the result is trusted, of the file and of the result.
    pub fn warnings(&self) -> &[Warning] {
        &self.segmentation.warnings
    }

    /// Seconds of each stage.
    pub fn seconds(&self) -> &BTreeMap<String, f64> {
        &self.segmentation.seconds
    }

    /// All of it: brain, probability, registration, the network's space.
    pub fn segmentation(&self) -> &Segmentation {
        &self.segmentation
    }

    /// What [`Finding::save`] writes as JSON: volume, components, warnings, weights, device (docs/report.md).
    pub fn report(&self) -> Report {
        report(&self.job, &self.settings(Path::new("")), &self.maker(), &self.origin, &self.segmentation)
    }

    /// Writes `PREFIX_ich.nii.gz` (the mask on the scan's own grid), the report `PREFIX_ich.json`, the picture
    /// `PREFIX_ich.png` (with the feature `report`) and, of a DICOM series, `PREFIX_ich.dcm` (DICOM-SEG): what `ichor segment` writes. Folders are
    /// made. An earlier result of the same scan is replaced, or kept where it would be the same; table and page of the
    /// folder are those of `ichor table`.
    ///
    /// # Errors
    /// [`Error::Scan`] where the result of another scan or a file that ichor did not write is in the way, or a file that
    /// the scan was read from; [`Error::Write`].
    pub fn save(&self, prefix: impl AsRef<Path>) -> Result<()> {
        let prefix = prefix.as_ref();
        let Some(name) = prefix.file_name() else {
            let problem = "it ends with no name that the results could be called by".into();
            return Err(Error::Scan { path: prefix.to_path_buf(), problem });
        };
        let job = Job { name: name.to_string_lossy().into_owned(), ..self.job.clone() };
        let folder = prefix.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(Error::write(folder))?;
        match write_results(&job, &self.settings(folder), &self.maker(), &self.origin, &self.segmentation, None)? {
            Outcome::Failed(error) => Err(error),
            Outcome::Done(_) | Outcome::Skipped(_) => Ok(()),
        }
    }

    fn maker(&self) -> Maker<'_> {
        Maker { weights: &self.shared.weights, identity: &self.shared.identity, device: self.device.clone() }
    }

    fn settings(&self, folder: &Path) -> Settings {
        Settings {
            output: folder.to_path_buf(),
            options: self.shared.options.clone(),
            brain_mask: None,
            template: self.shared.template.clone(),
            extras: Vec::new(),
            pictures: PICTURES,
            dicom_report: false,
            series: self.series_wanted.clone(),
            inputs: inputs::files(std::slice::from_ref(&self.job)),
            overwrite: false,
        }
    }
}
