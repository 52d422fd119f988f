//! The report of a scan, as JSON and as a row of the table of a batch.

use crate::io::dicom::Summary;
use crate::network::weights::Weights;
use crate::scan::components::Component;
use crate::scan::pitchperfect;
use crate::scan::postprocess::Postprocessing;
use crate::scan::registration::RegistrationQuality;
use crate::scan::second_opinion::{Method, SecondOpinion};
use crate::scan::segment::{Interpolation, Options};
use crate::scan::warnings::Warning;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The sentence that every report carries.
pub const RESEARCH_USE_ONLY: &str = "For research use only, not for diagnosis.";

/// The name of a scan's report is that of the scan, and this.
pub(crate) const ENDING: &str = "_ich.json";

/// A report lists so many components: a mask of speckles does not make a report of megabytes.
pub(crate) const MOST_COMPONENTS: usize = 100;

/// Which weights made a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightsIdentity {
    /// Name of the file or of the built-in weights.
    pub name: String,
    /// Where they come from.
    pub origin: String,
    /// Their license.
    pub license: String,
    /// SHA-256 of the file.
    pub sha256: String,
}

impl WeightsIdentity {
    /// The identity of what segments with these options: the weights, or the model of the method that needs none.
    pub fn for_options(options: &Options, weights: &Weights) -> Self {
        match options.method {
            Method::Network => WeightsIdentity::of(weights),
            Method::Pitchperfect => WeightsIdentity {
                name: pitchperfect::NAME.into(),
                origin: pitchperfect::ORIGIN.into(),
                license: pitchperfect::LICENSE.into(),
                sha256: pitchperfect::sha256(options.normals.as_deref()),
            },
        }
    }

    /// The identity of loaded weights.
    pub fn of(weights: &Weights) -> Self {
        let metadata = weights.metadata();
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".into());
        WeightsIdentity {
            name: weights.name().into(),
            origin: text(&metadata.origin),
            license: text(&metadata.license),
            sha256: weights.sha256(),
        }
    }
}

/// A warning as it stands in a report.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct NumberedWarning {
    /// The kind of warning: a number that never changes.
    pub number: u8,
    /// What is to be known.
    pub text: String,
}

impl From<&Warning> for NumberedWarning {
    fn from(warning: &Warning) -> Self {
        NumberedWarning { number: warning.number(), text: warning.to_string() }
    }
}

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

impl Extra {
    pub(super) const ALL: [Extra; 4] = [Extra::Brain, Extra::Probability, Extra::Template, Extra::Transform];

    /// What the names of its files end with.
    pub(super) fn endings(self) -> &'static [&'static str] {
        match self {
            Extra::Brain => &["brain.nii.gz"],
            Extra::Probability => &["probability.nii.gz"],
            Extra::Template => &["template.nii.gz", "template_ich.nii.gz"],
            Extra::Transform => &["to_template.tfm"],
        }
    }
}

/// What was chosen of all that changes an output, besides weights, threshold and post-processing, which a report tells elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choices {
    /// The file or folder that was read, from the root of the file system.
    pub input: String,
    /// How the brain was found: `skull`, `bet`, `skull-stripped`, or `mask` with the file's name and SHA-256.
    pub brain: String,
    /// What found the hemorrhage.
    #[serde(default)]
    pub method: Method,
    /// Whether a second method was asked: SHA-256 of its model and of the healthy brains that it compares with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_opinion_sha256: Option<String>,
    /// Whether components were left out of which the second method sees nothing.
    #[serde(default)]
    pub drop_unseen: bool,
    /// Whether blood was sought outside the brain mask too.
    pub outside_brain: bool,
    /// How the scan was resampled into template space.
    pub interpolation: Interpolation,
    /// SHA-256 of the template's grid and voxels.
    pub template_sha256: String,
    /// The outputs besides mask, picture and report.
    pub saved: Vec<Extra>,
}

/// What a result was read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// SHA-256 of the paths, sizes and times of the last change of its files. While it is the same, contents are not
    /// read again.
    pub state: String,
    /// SHA-256 of its files' contents: of the only file, or of the sums of all, sorted. Where the files lie and what
    /// they are called does not count.
    pub sha256: String,
    /// For DICOM: the first eight digits of SHA-256 of StudyInstanceUID and PatientID, which tell patients apart and
    /// name nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// For DICOM with a PatientID: the first eight digits of the SHA-256 of it alone, by which two time points are known
    /// to be of different patients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient_id: Option<String>,
}

/// Where the slices are in a picture: panels in rows, from the upper left, below `top` pixels of text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layout {
    /// Width and height of the picture in pixels.
    pub size: [usize; 2],
    /// Width and height of a panel in pixels.
    pub panel: [usize; 2],
    /// Panels in a row.
    pub columns: usize,
    /// First row of pixels of the panels.
    pub top: usize,
    /// Slice of each panel, counted from 1 for the scan's lowest (towards the feet).
    pub slices: Vec<usize>,
    /// The panel, from 0, with the largest area of hemorrhage; the middle one where there is none.
    pub key: usize,
    /// Length of a pixel's side in mm.
    pub mm: f64,
}

/// The report of one scan, NAME_ich.json.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Name of the scan: its outputs begin with it.
    pub name: String,
    /// The file that was read, as it was given.
    pub input: String,
    /// Volume of the hemorrhage in mL: voxels times the voxel's volume.
    pub volume_ml: f64,
    /// Voxels of the hemorrhage in the scan's grid.
    pub voxels: usize,
    /// Number of connected components.
    #[serde(default)]
    pub component_count: usize,
    /// The components, the largest first; at most 100.
    #[serde(default)]
    pub components: Vec<Component>,
    /// What a second method says; absent where none was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_opinion: Option<SecondOpinion>,
    /// Volume of one voxel in mm3, from the affine.
    pub voxel_mm3: f64,
    /// Volume of the brain mask in mL.
    pub brain_ml: f64,
    /// Probability above which a voxel was called hemorrhage.
    pub threshold: f32,
    /// What was done to the mask after the network.
    #[serde(default)]
    pub postprocessing: Postprocessing,
    /// What else was chosen that changes a result; absent in reports of versions that did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<Choices>,
    /// What was read; absent in reports of versions that did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The weights.
    pub weights: WeightsIdentity,
    /// The template, by file name or `built-in`.
    pub template: String,
    /// The device in words.
    pub device: String,
    /// How well the scan lies on the template; absent for a network that works in the scan's own space.
    pub registration: Option<RegistrationQuality>,
    /// Where the slices are in NAME_ich.png; absent where there is no picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<Layout>,
    /// The files of results besides this one, by name; of them alone a later run removes any.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// Seconds of each stage.
    pub seconds: BTreeMap<String, f64>,
    /// What should be known before the result is trusted.
    pub warnings: Vec<NumberedWarning>,
    /// Whether the result cannot be right and was kept by `--keep-doubtful` all the same; a warning says why.
    #[serde(default)]
    pub doubtful: bool,
    /// The DICOM series that was read, and what was corrected; absent for NIfTI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dicom: Option<Summary>,
    /// Version of ichor.
    pub ichor_version: String,
    /// Always true.
    pub research_use_only: bool,
    /// [`RESEARCH_USE_ONLY`].
    pub notice: String,
}

#[cfg(test)]
impl Report {
    /// A report for tests.
    pub(crate) fn example(name: &str) -> Report {
        Report {
            name: name.into(),
            input: format!("scans/{name}.nii.gz"),
            volume_ml: 12.5,
            voxels: 1250,
            component_count: 0,
            components: Vec::new(),
            second_opinion: None,
            voxel_mm3: 10.0,
            brain_ml: 1400.0,
            threshold: 0.5,
            postprocessing: Postprocessing::default(),
            choices: None,
            source: None,
            weights: WeightsIdentity::of(&Weights::hand_set()),
            template: "built-in".into(),
            device: "cpu".into(),
            registration: None,
            picture: None,
            outputs: Vec::new(),
            seconds: BTreeMap::new(),
            warnings: vec![NumberedWarning { number: 4, text: "slices of 9.0 mm".into() }],
            doubtful: false,
            dicom: None,
            ichor_version: env!("CARGO_PKG_VERSION").into(),
            research_use_only: true,
            notice: RESEARCH_USE_ONLY.into(),
        }
    }
}

/// A row of ichor.csv: a scan that was done, or one that failed with its reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    /// Name of the scan.
    pub name: String,
    /// `done` or `failed`.
    pub status: String,
    /// Volume of the hemorrhage in mL.
    pub volume_ml: Option<f64>,
    /// Voxels of the hemorrhage.
    pub voxels: Option<usize>,
    /// Dice with the mask of the second method.
    pub second_opinion_dice: Option<f64>,
    /// Volume of the brain mask in mL.
    pub brain_ml: Option<f64>,
    /// Probability above which a voxel was called hemorrhage.
    pub threshold: Option<f32>,
    /// Name of the weights.
    pub weights: String,
    /// SHA-256 of the weights.
    pub weights_sha256: String,
    /// The device.
    pub device: String,
    /// Seconds in all.
    pub seconds: Option<f64>,
    /// `number: text` of each warning, separated by ` | `.
    pub warnings: String,
    /// Why the scan failed.
    pub error: String,
    /// The file that was read.
    pub input: String,
    /// Version of ichor.
    pub ichor_version: String,
    /// Always true: the volume is for research use only, not for diagnosis.
    pub research_use_only: bool,
}

impl Row {
    /// The names of the columns, in their order.
    pub(crate) const COLUMNS: [&str; 16] = [
        "name",
        "status",
        "volume_ml",
        "voxels",
        "second_opinion_dice",
        "brain_ml",
        "threshold",
        "weights",
        "weights_sha256",
        "device",
        "seconds",
        "warnings",
        "error",
        "input",
        "ichor_version",
        "research_use_only",
    ];

    /// The row of a scan that was done.
    pub(crate) fn done(report: &Report) -> Self {
        let warnings: Vec<String> = report.warnings.iter().map(|w| format!("{}: {}", w.number, w.text)).collect();
        let seconds: f64 = report.seconds.values().sum();
        Row {
            name: report.name.clone(),
            status: "done".into(),
            volume_ml: Some(report.volume_ml),
            voxels: Some(report.voxels),
            second_opinion_dice: report.second_opinion.as_ref().map(|second| (second.dice * 1000.0).round() / 1000.0),
            brain_ml: Some((report.brain_ml * 10.0).round() / 10.0),
            threshold: Some(report.threshold),
            weights: report.weights.name.clone(),
            weights_sha256: report.weights.sha256.clone(),
            device: report.device.clone(),
            seconds: Some((seconds * 1000.0).round() / 1000.0),
            warnings: warnings.join(" | "),
            error: String::new(),
            input: report.input.clone(),
            ichor_version: report.ichor_version.clone(),
            research_use_only: true,
        }
    }

    /// The row of a scan that failed.
    pub(crate) fn failed(name: &str, input: &str, error: &str) -> Self {
        Row {
            name: name.into(),
            status: "failed".into(),
            error: error.replace(['\n', '\r'], " "),
            input: input.into(),
            ichor_version: env!("CARGO_PKG_VERSION").into(),
            research_use_only: true,
            ..Row::default()
        }
    }
}
