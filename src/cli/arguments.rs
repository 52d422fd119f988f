//! The command line's arguments.

use super::choices::Choice;
use clap::{Args, Parser, Subcommand};
use ichor::Grade;
use ichor::batch::Extra;
use ichor::batch::inputs::Shard;
use ichor::network::device::Device;
use ichor::phantom::Kind;
use ichor::scan::brain::Method;
use ichor::scan::second_opinion::Method as Finder;
use ichor::scan::segment::Interpolation;
use log::LevelFilter;
use std::path::PathBuf;

/// Finds intracerebral hemorrhage on a non-contrast head CT and measures its volume.
///
/// For research use only, not for diagnosis. The report names the weights that made a result.
#[derive(Parser)]
#[command(name = "ichor", version, arg_required_else_help = true, after_help = EXIT_STATUS)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub talk: Talk,
}

const EXIT_STATUS: &str = "Exit status: 0 all done; 1 something failed (in a batch the other scans are done); 2 wrong use.
For research use only, not for diagnosis.";

/// How much is said on standard error.
#[derive(Args)]
pub struct Talk {
    /// Say nothing but errors on standard error
    #[arg(short, long, global = true, conflicts_with = "log_level")]
    pub quiet: bool,
    /// What is said on standard error: each level and those before it; debug has sizes, choices and the seconds of each stage
    #[arg(long, global = true, value_enum, default_value_t = Choice(LevelFilter::Info), value_name = "LEVEL")]
    pub log_level: Choice<LevelFilter>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Find hemorrhage: mask, volume and report of each scan
    Segment(Segment),
    /// Brain extraction alone: the inside of the skull as a mask
    Brain(Brain),
    /// Brain extraction and rigid registration alone: the network's input
    Register(Register),
    /// Make table and page of a folder of results again, from the reports in it
    Table(Table),
    /// How a patient's hemorrhage has changed between two scans that were segmented
    Compare(Compare),
    /// Make a NIfTI file of a DICOM series: sorted, in HU, gantry tilt and unequal spacing corrected
    Convert(Convert),
    /// What lies in a folder of DICOM files: its series, which one would be used, and why
    Inspect(Inspect),
    /// The network alone, on a volume that is in its space already
    Network(Network),
    /// Look at, check, export or import a weights file
    Weights {
        #[command(subcommand)]
        command: Weights,
    },
    /// Train a network on generated heads or on one's own scans
    Train(Train),
    /// Time passes of a loaded network
    Bench(Bench),
    /// Make a head phantom with a bleed of known volume, segment it, compare
    Demo(Demo),
    /// Make CTs of heads that nobody has, with bleeds of known place and volume
    Phantom(Phantom),
    /// The logistic model of Muschelli et al. 2017 and the healthy brains that it compares with
    Pitchperfect {
        #[command(subcommand)]
        command: Pitchperfect,
    },
    /// Compare automated masks with manual ones: measures of each case and tables over all
    Evaluate(Evaluate),
    /// What this build and machine can run on, and why not the rest
    Devices,
}

/// The series of a DICOM scan.
#[derive(Args)]
pub struct Series {
    /// UID or number of the DICOM series to use, a part of it behind a colon; by the rules that `ichor inspect` shows
    /// if not given
    #[arg(long, value_name = "UID|NUMBER[:PART]")]
    pub series: Option<String>,
}

/// How many threads work.
#[derive(Args)]
pub struct Threads {
    /// Threads; all cores if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// What is done with a result that cannot be right.
#[derive(Args)]
pub struct Doubtful {
    /// Keep a result that cannot be right (no brain's volume, shape or bone, values that are no HU, a failed
    /// registration) instead of failing
    #[arg(long)]
    pub keep_doubtful: bool,
}

/// The template.
#[derive(Args)]
pub struct TemplateFile {
    /// Template (NIfTI, brain alone, HU); ichor's own if not given
    #[arg(long, value_name = "FILE")]
    pub template: Option<PathBuf>,
}

/// The weights.
#[derive(Args)]
pub struct WeightsFile {
    /// Weights file (safetensors); the built-in weights if not given
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
}

/// How the brain is extracted.
#[derive(Args)]
pub struct Extraction {
    /// How the brain is extracted
    #[arg(long, value_enum, default_value_t = Choice(Method::Skull), value_name = "METHOD")]
    pub brain_method: Choice<Method>,
}

/// How the scan is resampled.
#[derive(Args)]
pub struct Resampling {
    /// How the scan is resampled into template space
    #[arg(long, value_enum, default_value_t = Choice(Interpolation::Linear), value_name = "METHOD")]
    pub interpolation: Choice<Interpolation>,
}

/// How the brain is found.
#[derive(Args)]
pub struct BrainSource {
    /// Brain mask of the scan (NIfTI on the scan's points, above 0 inside; values from 0 to 1 are cut at one half)
    /// instead of brain extraction
    #[arg(long, value_name = "FILE", conflicts_with = "skull_stripped")]
    pub brain_mask: Option<PathBuf>,
    /// The scan holds the brain alone already, 0 elsewhere
    #[arg(long)]
    pub skull_stripped: bool,
    #[command(flatten)]
    pub extraction: Extraction,
}

/// Where the network runs.
#[derive(Args)]
pub struct Run {
    #[cfg_attr(not(feature = "emulator"), doc = "auto, cpu, reference, cuda or cuda:N")]
    #[cfg_attr(feature = "emulator", doc = "auto, cpu, reference, cuda, cuda:N or emulated")]
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub device: Device,
    /// How a CUDA device computes
    #[arg(long, value_enum, default_value_t = Choice(Grade::Exact), value_name = "GRADE")]
    pub grade: Choice<Grade>,
    /// Threads on the CPU; all cores if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// What is done to the mask after the network: nothing if none is given, as in the DeepBleed paper. In this order: smooth, fill, leave out.
#[derive(Args)]
pub struct Postprocessing {
    /// Smooth the mask after the network: a Gaussian of sigma MM (1 without a number), cut at one half; not if not given
    #[arg(long, value_name = "MM", num_args = 0..=1, require_equals = true, default_missing_value = "1", value_parser = sigma)]
    pub smooth: Option<f64>,
    /// Fill what the mask encloses after the network
    #[arg(long)]
    pub fill_holes: bool,
    /// Leave out components of less than ML mL after the network; none if not given
    #[arg(long, value_name = "ML", value_parser = millilitres)]
    pub min_component: Option<f64>,
}

#[derive(Args)]
pub struct Segment {
    /// NIfTI files (.nii, .nii.gz, .hdr), DICOM files, or folders of them; each DICOM study in a folder is a scan
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,
    /// Folder for the results: NAME_ich.nii.gz, NAME_ich.png, NAME_ich.json and a row in ichor.csv for each scan
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    #[command(flatten)]
    pub series: Series,
    /// What finds the hemorrhage
    #[arg(long, value_enum, default_value_t = Choice(Finder::Network), value_name = "METHOD")]
    pub method: Choice<Finder>,
    #[command(flatten)]
    pub weights: WeightsFile,
    #[command(flatten)]
    pub template: TemplateFile,
    #[command(flatten)]
    pub run: Run,
    /// Ask no second method (PItcHPERFeCT) beside the network
    #[arg(long)]
    pub no_second_opinion: bool,
    /// Leave out components of which the second method sees nothing
    #[arg(long, conflicts_with = "no_second_opinion")]
    pub drop_unseen: bool,
    /// Healthy brains that PItcHPERFeCT compares with, a file of `ichor pitchperfect normals`; ichor's own if not given
    #[arg(long, value_name = "FILE")]
    pub normals: Option<PathBuf>,
    /// Probability above which a voxel is hemorrhage; the weights' or the method's own (else 0.5) if not given
    #[arg(long, value_name = "P", value_parser = probability)]
    pub threshold: Option<f32>,
    #[command(flatten)]
    pub brain: BrainSource,
    #[command(flatten)]
    pub doubtful: Doubtful,
    /// Seek blood outside the brain mask too (dense network, as the released program does)
    #[arg(long)]
    pub outside_brain: bool,
    #[command(flatten)]
    pub resampling: Resampling,
    #[command(flatten)]
    pub postprocessing: Postprocessing,
    /// Further outputs
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT")]
    pub save: Vec<Choice<Extra>>,
    /// Write no NAME_ich.png, the picture of a scan's slices with the hemorrhage outlined
    #[arg(long)]
    pub no_picture: bool,
    /// Write NAME_ich_sr.dcm for DICOM scans too: the volume as a DICOM structured report (TID 1500) that refers to NAME_ich.dcm
    #[arg(long)]
    pub dicom_report: bool,
    /// Name of the outputs, NAME_ich.nii.gz and so on, of a single scan; from the file or the DICOM folder if not given
    #[arg(long, value_name = "NAME", value_parser = name, conflicts_with = "shard")]
    pub name: Option<String>,
    /// Do part I of N of the scans, for job arrays: they may run at the same time into the same folder, and share its
    /// table and page
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Segment scans again whose results are there already, of the same series, weights and options; replace results of
    /// another scan that has the same name
    #[arg(long)]
    pub overwrite: bool,
}

#[derive(Args)]
pub struct Table {
    /// Folder with results of `segment`
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

#[derive(Args)]
pub struct Compare {
    /// The earlier scan: its report (NAME_ich.json) or a mask (NIfTI, above 0 inside)
    #[arg(value_name = "A")]
    pub earlier: PathBuf,
    /// The later scan, likewise
    #[arg(value_name = "B")]
    pub later: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Convert {
    /// Folder with the series, or a file of it
    pub input: PathBuf,
    /// The volume (.nii or .nii.gz), int16 where HU are whole numbers; what was done goes into a .json file beside it
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    #[command(flatten)]
    pub series: Series,
    #[command(flatten)]
    pub threads: Threads,
}

#[derive(Args)]
pub struct Inspect {
    /// Folder of DICOM files, or a file of a series
    pub input: PathBuf,
    /// UID or number of the DICOM series to use, a part of it behind a colon; as for the commands that read a scan
    #[arg(long, value_name = "UID|NUMBER[:PART]")]
    pub series: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Brain {
    /// The scan (NIfTI, or a DICOM folder or file)
    pub input: PathBuf,
    /// The mask: NIfTI, uint8, on the scan's grid
    #[arg(short, long, value_name = "MASK")]
    pub output: PathBuf,
    #[command(flatten)]
    pub series: Series,
    #[command(flatten)]
    pub extraction: Extraction,
    #[command(flatten)]
    pub doubtful: Doubtful,
    #[command(flatten)]
    pub threads: Threads,
}

#[derive(Args)]
pub struct Register {
    /// The scan (NIfTI, or a DICOM folder or file)
    pub input: PathBuf,
    /// The brain in template space: the network's input
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    #[command(flatten)]
    pub series: Series,
    #[command(flatten)]
    pub template: TemplateFile,
    #[command(flatten)]
    pub brain: BrainSource,
    #[command(flatten)]
    pub resampling: Resampling,
    /// The transform as ITK text (takes template points to scan points, LPS mm)
    #[arg(long, value_name = "FILE.tfm")]
    pub save_transform: Option<PathBuf>,
    #[command(flatten)]
    pub doubtful: Doubtful,
    #[command(flatten)]
    pub threads: Threads,
}

#[derive(Args)]
pub struct Network {
    /// A volume in the network's space: HU, 0 outside the brain (NIfTI)
    pub input: PathBuf,
    /// The probability of hemorrhage in each voxel, f32, on the input's grid
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    #[command(flatten)]
    pub weights: WeightsFile,
    /// Write logits instead of probabilities
    #[arg(long)]
    pub logits: bool,
    #[command(flatten)]
    pub run: Run,
}

#[derive(Subcommand)]
pub enum Weights {
    /// Show what a weights file holds: network, parameters, GFLOP of each block, origin, license
    Info {
        /// The weights file; the built-in weights if not given
        file: Option<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Check a weights file: sizes, names, shapes, finite values
    Check {
        /// The weights file
        file: PathBuf,
    },
    /// Write weights for other runtimes: as ONNX (HU in, logits out), or as safetensors with the names that TensorFlow gave the tensors
    Export {
        /// The weights file; the built-in weights if not given
        file: Option<PathBuf>,
        /// The file to write: ONNX where it ends in `.onnx`, safetensors where in `.safetensors`
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Store values in 16 bits (F16), of safetensors
        #[arg(long)]
        half: bool,
    },
    /// Make a weights file of a TensorFlow 2 checkpoint, or of an ONNX file that `export` made
    Import {
        /// The checkpoint's path without `.index`, or a file that ends in `.onnx`
        prefix: PathBuf,
        /// The weights file to write
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Where the weights come from, for the file's metadata
        #[arg(long, value_name = "TEXT")]
        origin: Option<String>,
        /// License of the weights, for the file's metadata
        #[arg(long, default_value = "unknown", value_name = "TEXT")]
        license: String,
        /// How often the shared convolutions of input_layer, down_1, .. are applied; as in the released program (1,2,3,3,3) if not given
        #[arg(long, value_delimiter = ',', value_name = "N,N,..")]
        convs: Vec<usize>,
        /// The same for up_4 .. up_1; as in the released program (3,3,2,1) if not given
        #[arg(long, value_delimiter = ',', value_name = "N,N,..")]
        up_convs: Vec<usize>,
    },
}

#[derive(Subcommand)]
pub enum Pitchperfect {
    /// Write the features of a scan as images: image.nii.gz (HU), voxels.nii.gz (which count) and one file for each feature
    Features {
        /// The scan (NIfTI, or a DICOM folder or file)
        input: PathBuf,
        /// Folder for the images, which lie on voxels of 1 mm of the built-in template's world
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
        #[command(flatten)]
        series: Series,
        #[command(flatten)]
        brain: BrainSource,
        /// Healthy brains to compare with, a file of `ichor pitchperfect normals`; ichor's own if not given
        #[arg(long, value_name = "FILE")]
        normals: Option<PathBuf>,
        #[command(flatten)]
        threads: Threads,
    },
    /// Make the healthy brains that it compares with of scans without blood: mean and standard deviation of HU, place by place
    Normals {
        /// NIfTI files, DICOM files, or folders of them: heads without blood
        #[arg(required = true, value_name = "INPUT")]
        inputs: Vec<PathBuf>,
        /// The file to write, for `ichor segment --normals`
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        #[command(flatten)]
        brain: BrainSource,
        #[command(flatten)]
        threads: Threads,
    },
}

#[derive(Args)]
pub struct Train {
    /// The options (TOML); the built-in ones if not given
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Weights to begin with, a file or `built-in`; those of the options, else random ones, if not given
    #[arg(long, value_name = "WEIGHTS")]
    pub from: Option<String>,
    /// Folder for weights, curves and checkpoint; a training that was stopped goes on there
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Folder of pairs NAME.nii.gz and NAME_label.nii.gz; generated heads if not given
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Template for such pairs (NIfTI, brain alone, HU); ichor's own if not given
    #[arg(long, value_name = "FILE", requires = "data")]
    pub template: Option<PathBuf>,
    /// Folder that keeps prepared samples, 2 to 4 MB each; `samples` in the output folder if not given
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    #[command(flatten)]
    pub threads: Threads,
}

#[derive(Args)]
pub struct Bench {
    #[command(flatten)]
    pub weights: WeightsFile,
    /// The grid of a pass
    #[arg(long, default_value = "128,128,128", value_name = "D,H,W", value_parser = grid)]
    pub size: [usize; 3],
    /// Brain mask (NIfTI of that size): only the answer inside it is computed
    #[arg(long, value_name = "FILE")]
    pub mask: Option<PathBuf>,
    /// Number of timed passes
    #[arg(long, default_value_t = 5, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub repeat: u32,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub run: Run,
}

#[derive(Args)]
pub struct Demo {
    /// Keep the phantom, its true mask, the mask that is found and demo.json in this folder
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub run: Run,
}

#[derive(Args)]
pub struct Phantom {
    /// Folder for the phantoms: NAME.nii.gz, NAME_label.nii.gz and a row for each bleed in phantoms.csv, to which
    /// further calls add theirs
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// How many
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub count: u32,
    /// Seed of the first; each further one has the next
    #[arg(long, default_value_t = 1, value_name = "S")]
    pub seed: u64,
    /// Number of voxels to the left, to the back and to the top
    #[arg(long, default_value = "512,512,30", value_name = "I,J,K", value_parser = grid)]
    pub matrix: [usize; 3],
    /// Voxel size in mm; the third is the distance between slices
    #[arg(long, default_value = "0.45,0.45,5", value_name = "X,Y,Z", value_parser = millimetres)]
    pub voxel: [f64; 3],
    /// Slice thickness in mm; the distance between slices if not given
    #[arg(long, value_name = "MM")]
    pub thickness: Option<f64>,
    /// Tilt of the gantry in degrees
    #[arg(long, default_value_t = 0.0, value_name = "DEGREES", allow_hyphen_values = true, value_parser = tilt)]
    pub tilt: f64,
    /// Share of heads without a bleed
    #[arg(long, default_value_t = 0.25, value_name = "SHARE", value_parser = share)]
    pub without_bleed: f32,
    /// Least and greatest volume of a bleed in mL
    #[arg(long, default_value = "0.5,150", value_name = "LOW,HIGH", value_parser = range)]
    pub volume: [f32; 2],
    /// What bleeds may be; anything if not given. No infratentorial ones with --into: where a scan's tentorium is, is not known
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND,..")]
    pub kinds: Vec<Choice<Kind>>,
    /// Bleeds that are hard to see: half of them faint, most of the larger ones pale in parts, many layered, subdural ones thin
    #[arg(long)]
    pub hard: bool,
    /// A scan without blood (NIfTI) that gets the bleeds, and calcifications, instead of generated heads
    #[arg(long, value_name = "SCAN", conflicts_with_all = ["matrix", "voxel", "thickness", "tilt"])]
    pub into: Option<PathBuf>,
    /// Brain mask of that scan (NIfTI on its points, above 0 inside) instead of brain extraction
    #[arg(long, value_name = "FILE", requires = "into")]
    pub brain_mask: Option<PathBuf>,
    /// Make phantoms again whose names are there already; else these are refused before the first is made
    #[arg(long)]
    pub overwrite: bool,
    /// The brain alone on 96 x 112 x 112 voxels of 1.5 mm, as the network sees a scan of slices of --thickness (5 mm if not given)
    #[arg(long, conflicts_with_all = ["into", "matrix", "voxel", "tilt"])]
    pub network: bool,
    #[command(flatten)]
    pub threads: Threads,
}

#[derive(Args)]
pub struct Evaluate {
    /// Folder of automated masks: NAME_ich.nii.gz of `ichor segment`, or NAME.nii.gz
    #[arg(long, value_name = "DIR", requires = "manual", required_unless_present = "pairs")]
    pub automated: Option<PathBuf>,
    /// Folder of manual masks: NAME_label.nii.gz, or NAME.nii.gz
    #[arg(long, value_name = "DIR", requires = "automated")]
    pub manual: Option<PathBuf>,
    /// Table (CSV) of pairs instead: columns name, automated, manual and, if wanted, scan, subgroup, patient
    #[arg(long, value_name = "FILE", conflicts_with_all = ["automated", "manual"])]
    pub pairs: Option<PathBuf>,
    /// Folder for cases.csv, summary.json, evaluation.html and the figures
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Folder of scans NAME.nii.gz, for pictures of the median and the worst cases
    #[arg(long, value_name = "DIR")]
    pub scans: Option<PathBuf>,
    /// Table (CSV) with a column name, such as phantoms.csv, that has the subgroup or the patient of each case
    #[arg(long, value_name = "FILE")]
    pub table: Option<PathBuf>,
    /// Column of --table for the tables by subgroup
    #[arg(long, value_name = "COLUMN", requires = "table")]
    pub subgroup: Option<String>,
    /// Column of --table that says whose scan a case is
    #[arg(long, value_name = "COLUMN", requires = "table")]
    pub patient: Option<String>,
    /// Tolerance of the surface Dice in mm
    #[arg(long, default_value_t = 2.0, value_name = "MM", value_parser = tolerance)]
    pub tolerance: f64,
    /// Intersection over union above which an automated and a manual lesion are matched
    #[arg(long, default_value_t = ichor::evaluation::lesions::IOU, value_name = "SHARE", value_parser = overlap)]
    pub lesion_iou: f64,
    #[command(flatten)]
    pub threads: Threads,
}

impl Run {
    /// What was asked for, where it can be.
    ///
    /// # Errors
    /// For a grade that the device does not have.
    pub fn check(&self) -> Result<(), String> {
        if self.grade == Choice(Grade::Exact) || self.device.has_grades() {
            return Ok(());
        }
        Err(format!("--grade fast is for --device cuda; {} computes in f32 alone", self.device))
    }
}

impl Command {
    /// Where the network runs, of a command that runs it.
    pub fn run(&self) -> Option<&Run> {
        match self {
            Command::Segment(Segment { run, .. })
            | Command::Network(Network { run, .. })
            | Command::Bench(Bench { run, .. })
            | Command::Demo(Demo { run, .. }) => Some(run),
            Command::Brain(_)
            | Command::Table(_)
            | Command::Compare(_)
            | Command::Convert(_)
            | Command::Inspect(_)
            | Command::Register(_)
            | Command::Weights { .. }
            | Command::Phantom(_)
            | Command::Train(_)
            | Command::Pitchperfect { .. }
            | Command::Evaluate(_)
            | Command::Devices => None,
        }
    }
}

fn probability(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(p) if p > 0.0 && p < 1.0 => Ok(p),
        _ => Err("a probability above 0 and below 1 is needed".into()),
    }
}

fn sigma(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(mm) if (0.1..=10.0).contains(&mm) => Ok(mm),
        _ => Err("a length from 0.1 to 10 mm is needed".into()),
    }
}

fn name(text: &str) -> Result<String, String> {
    let odd = |c: char| c.is_control() || c == '/' || c == '\\';
    // File systems take 255 bytes; the longest of the outputs' names is 35 longer than this, while it is written.
    if text.trim().is_empty() || text.starts_with('.') || text.contains(odd) || text.len() > 200 {
        return Err("a part of a file's name is needed: no folder, no dot at its beginning, at most 200 bytes".into());
    }
    Ok(text.to_string())
}

fn millilitres(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ml) if ml > 0.0 && ml <= 1000.0 => Ok(ml),
        _ => Err("a volume above 0 and up to 1000 mL is needed".into()),
    }
}

fn grid(text: &str) -> Result<[usize; 3], String> {
    let sides: Vec<usize> = text.split(',').map_while(|side| side.trim().parse().ok()).collect();
    match sides[..] {
        [d, h, w] if text.split(',').count() == 3 && [d, h, w].iter().all(|side| (1..=1024).contains(side)) => Ok([d, h, w]),
        _ => Err("three sides from 1 to 1024 are needed, as in 128,128,128".into()),
    }
}

fn millimetres(text: &str) -> Result<[f64; 3], String> {
    let lengths: Vec<f64> = text.split(',').map_while(|mm| mm.trim().parse().ok()).collect();
    match lengths[..] {
        [x, y, z] if text.split(',').count() == 3 && [x, y, z].iter().all(|mm| (0.05..=50.0).contains(mm)) => Ok([x, y, z]),
        _ => Err("three lengths from 0.05 to 50 mm are needed, as in 0.45,0.45,5".into()),
    }
}

fn tilt(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(degrees) if (-45.0..=45.0).contains(&degrees) => Ok(degrees),
        _ => Err("an angle from -45 to 45 degrees is needed".into()),
    }
}

fn range(text: &str) -> Result<[f32; 2], String> {
    let ends: Vec<f32> = text.split(',').map_while(|ml| ml.trim().parse().ok()).collect();
    match ends[..] {
        [low, high] if text.split(',').count() == 2 && 0.1 <= low && low <= high && high <= 150.0 => Ok([low, high]),
        _ => Err("two volumes from 0.1 to 150 mL are needed, as in 0.5,150".into()),
    }
}

fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(mm) if (0.0..=100.0).contains(&mm) => Ok(mm),
        _ => Err("a length from 0 to 100 mm is needed".into()),
    }
}

fn overlap(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(iou) if (0.0..1.0).contains(&iou) => Ok(iou),
        _ => Err("a share from 0 to below 1 is needed".into()),
    }
}

fn share(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share from 0 to 1 is needed".into()),
    }
}
