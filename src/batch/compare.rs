//! Two time points of one patient: how much larger the hemorrhage has become.

#[cfg(doc)]
use crate::batch::report::Source;
use crate::batch::report::{Choices, NumberedWarning, RESEARCH_USE_ONLY, Report, WeightsIdentity};
use crate::io::mask::{self, Mask};
use crate::scan::postprocess::Postprocessing;
use crate::scan::segment::Interpolation;
use crate::words::counted;
use crate::{Error, Result};
use serde::Serialize;
use std::path::Path;
use std::{fmt, fs};

/// Growth above this many mL, or above [`EXPANSION_PERCENT`], is what trials call hematoma expansion (Brouwers et al., JAMA Neurology 2014).
pub const EXPANSION_ML: f64 = 6.0;
/// Growth in percent of the first volume.
pub const EXPANSION_PERCENT: f64 = 33.0;

/// One time point.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimePoint {
    /// The report or mask that was read.
    pub file: String,
    /// Volume of the hemorrhage in mL.
    pub volume_ml: f64,
    /// What stands for the patient in a report of a DICOM scan ([`Source::patient_id`]); absent where nothing says whose
    /// scan it is.
    pub patient_id: Option<String>,
    /// The weights; absent for a mask.
    pub weights: Option<WeightsIdentity>,
    /// How the weights were used; absent for a mask.
    pub method: Option<Method>,
    /// The warnings of the report.
    pub warnings: Vec<NumberedWarning>,
    /// The labels of a mask that holds several: all of them count.
    pub labels: Vec<f32>,
}

/// What two results must have in common so that a change is not that of an option.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Method {
    /// Probability above which a voxel is hemorrhage.
    pub threshold: f32,
    /// What was done to the mask after the network.
    pub postprocessing: Postprocessing,
    /// How the brain was found: skull, bet, mask, ..; absent, as what follows, where an older report does not say.
    pub brain: Option<String>,
    /// Whether components were left out of which a second method sees nothing.
    pub drop_unseen: Option<bool>,
    /// Whether blood was sought outside the brain too.
    pub outside_brain: Option<bool>,
    /// How the scan was resampled.
    pub interpolation: Option<Interpolation>,
    /// SHA-256 of the template.
    pub template_sha256: Option<String>,
}

/// Whether the growth is above a limit: numbers for research, no diagnosis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Expansion {
    /// Above [`EXPANSION_ML`].
    pub above_6_ml: bool,
    /// Above [`EXPANSION_PERCENT`]; absent where the first time point has no hemorrhage.
    pub above_33_percent: Option<bool>,
}

/// Which time point a warning is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// The first.
    Earlier,
    /// The second.
    Later,
}

/// Why two time points may not be comparable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Doubt {
    /// The time point; absent where it is about both.
    pub time_point: Option<When>,
    /// Its file.
    pub file: Option<String>,
    /// The number of a report's warning.
    pub number: Option<u8>,
    /// The sentence.
    pub text: String,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}: ")?;
        }
        write!(f, "{}", self.text)?;
        self.number.map_or(Ok(()), |number| write!(f, " (warning {number})"))
    }
}

/// What has changed from the first to the second time point.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The two time points.
    pub time_points: [TimePoint; 2],
    /// Second volume less the first, in mL.
    pub change_ml: f64,
    /// The same in percent of the first; absent where the first has no hemorrhage.
    pub change_percent: Option<f64>,
    /// Each limit.
    pub expansion: Expansion,
    /// 1 where the growth is above [`EXPANSION_ML`] or above [`EXPANSION_PERCENT`], else 0: a number for research, no diagnosis.
    pub above_6_ml_or_33_percent: u8,
    /// Why the two may not be comparable.
    pub warnings: Vec<Doubt>,
    /// [`RESEARCH_USE_ONLY`].
    pub notice: &'static str,
}

impl TimePoint {
    /// Reads a report (a name that ends in .json) or a mask (NIfTI; above 0 inside).
    ///
    /// # Errors
    /// [`Error::Read`], as [`mask::read`], and [`Error::Scan`] for a file that is neither report nor mask.
    pub fn read(path: &Path) -> Result<TimePoint> {
        let file = path.to_string_lossy().into_owned();
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json")) {
            let text = fs::read(path).map_err(Error::read(path))?;
            let report: Report = serde_json::from_slice(&text).map_err(|error| Error::Scan {
                path: path.to_path_buf(),
                problem: format!("it is no report of ichor segment: {error}"),
            })?;
            let method = Some(Method::of(&report));
            let Report { volume_ml, weights, warnings, source, .. } = report;
            let patient_id = source.and_then(|source| source.patient_id);
            return Ok(TimePoint { file, volume_ml, patient_id, weights: Some(weights), method, warnings, labels: Vec::new() });
        }
        let Mask { inside, labels } = mask::read(path)?;
        let labels = if labels.len() > 1 { labels } else { Vec::new() };
        let volume_ml = inside.volume_ml();
        Ok(TimePoint { file, volume_ml, patient_id: None, weights: None, method: None, warnings: Vec::new(), labels })
    }

    /// What its own file says against it.
    fn doubts(&self, when: When) -> Vec<Doubt> {
        let doubt = |number, text| Doubt { time_point: Some(when), file: Some(self.file.clone()), number, text };
        let told = self.warnings.iter().map(|warning| doubt(Some(warning.number), warning.text.clone()));
        let several = !self.labels.is_empty();
        told.chain(several.then(|| doubt(None, format!("it holds {}: all of them count", counted(self.labels.len(), "label")))))
            .collect()
    }
}

impl Method {
    fn of(report: &Report) -> Method {
        let choices = report.choices.as_ref();
        // Each scan has a mask of its own.
        let brain = |choices: &Choices| choices.brain.split(' ').next().unwrap_or_default().to_string();
        Method {
            threshold: report.threshold,
            postprocessing: report.postprocessing,
            brain: choices.map(brain),
            drop_unseen: choices.map(|choices| choices.drop_unseen),
            outside_brain: choices.map(|choices| choices.outside_brain),
            interpolation: choices.map(|choices| choices.interpolation),
            template_sha256: choices.map(|choices| choices.template_sha256.clone()),
        }
    }
}

/// Compares an earlier time point with a later one.
pub fn compare(earlier: TimePoint, later: TimePoint) -> Comparison {
    let change_ml = later.volume_ml - earlier.volume_ml;
    let change_percent = (earlier.volume_ml > 0.0).then(|| 100.0 * change_ml / earlier.volume_ml);
    // A new hemorrhage has no percentage: millilitres alone tell.
    let expansion = Expansion {
        above_6_ml: change_ml > EXPANSION_ML,
        above_33_percent: change_percent.map(|percent| percent > EXPANSION_PERCENT),
    };
    let above = expansion.above_6_ml || expansion.above_33_percent == Some(true);
    let mut warnings = Vec::new();
    let about_both = |text: &str| Doubt { time_point: None, file: None, number: None, text: text.into() };
    if let (Some(before), Some(after)) = (&earlier.patient_id, &later.patient_id)
        && before != after
    {
        warnings.push(about_both("the two are of different patients (their PatientIDs differ): a change says nothing"));
    }
    if let (Some(before), Some(after)) = (&earlier.weights, &later.weights) {
        if before.sha256 != after.sha256 {
            warnings.push(about_both("the two were made with different weights: a change may be theirs"));
        } else if earlier.method != later.method {
            warnings.push(about_both("the two were made with another threshold or other options: a change may be theirs"));
        }
    }
    warnings.extend(earlier.doubts(When::Earlier));
    warnings.extend(later.doubts(When::Later));
    Comparison {
        time_points: [earlier, later],
        change_ml,
        change_percent,
        expansion,
        above_6_ml_or_33_percent: u8::from(above),
        warnings,
        notice: RESEARCH_USE_ONLY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::write_mask;
    use crate::io::nifti;
    use crate::volume::testing::mask;

    fn point(volume_ml: f64) -> TimePoint {
        let (patient_id, weights, method, warnings, labels) = Default::default();
        TimePoint { file: "a".into(), volume_ml, patient_id, weights, method, warnings, labels }
    }

    #[test]
    fn growth_above_6_ml_or_33_percent_is_flagged_and_just_that_much_is_not() {
        let cases = [
            (30.0, 36.0, 0),
            (30.0, 36.5, 1),
            (3.0, 3.98, 0),
            (3.0, 4.0, 1),
            (12.5, 16.625, 0),
            (0.0, 6.0, 0),
            (0.0, 6.1, 1),
            (20.0, 5.0, 0),
            (0.0, 0.0, 0),
        ];
        for (before, after, flag) in cases {
            assert_eq!(compare(point(before), point(after)).above_6_ml_or_33_percent, flag, "{before} to {after} mL");
        }
        let grown = compare(point(20.0), point(15.0));
        assert_eq!((grown.change_ml, grown.change_percent), (-5.0, Some(-25.0)));
        assert_eq!(compare(point(0.0), point(1.0)).change_percent, None);
    }

    #[test]
    fn a_report_and_a_mask_are_read_and_other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a_ich.json"), serde_json::to_vec(&Report::example("a")).unwrap()).unwrap();
        let report = TimePoint::read(&path("a_ich.json")).unwrap();
        assert_eq!((report.volume_ml, report.warnings.len()), (12.5, 1));
        // 4 voxels of 30 mm3.
        let bleed = mask([8, 8, 8], |[i, j, k]| i < 4 && j == 2 && k == 3);
        let header = nifti::Header::for_grid(bleed.grid()).unwrap();
        write_mask(&path("b_ich.nii.gz"), &bleed, &header).unwrap();
        assert!((TimePoint::read(&path("b_ich.nii.gz")).unwrap().volume_ml - 0.12).abs() < 1e-9);
        nifti::write(path("scan.nii"), &bleed.map(|&inside| if inside { 60.0_f32 } else { -5.0 }), &header).unwrap();
        assert!(TimePoint::read(&path("scan.nii")).unwrap_err().to_string().contains("no mask"));
        fs::write(path("other.json"), b"{}").unwrap();
        assert!(TimePoint::read(&path("other.json")).unwrap_err().to_string().contains("no report"));
    }

    #[test]
    fn other_weights_or_thresholds_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let read = |report: &Report| {
            let path = folder.path().join("a.json");
            fs::write(&path, serde_json::to_vec(report).unwrap()).unwrap();
            TimePoint::read(&path).unwrap()
        };
        let first = Report { warnings: Vec::new(), ..Report::example("a") };
        assert!(compare(read(&first), read(&first)).warnings.is_empty());
        let mut other = first.clone();
        other.weights.sha256 = "0".into();
        assert!(compare(read(&first), read(&other)).warnings[0].text.contains("different weights"));
        let other = Report { threshold: 0.4, ..first.clone() };
        assert!(compare(read(&first), read(&other)).warnings[0].text.contains("another threshold"));
        let choices = |brain: &str| {
            let choices = Choices {
                input: "a.nii".into(),
                brain: brain.into(),
                method: Default::default(),
                second_opinion_sha256: None,
                drop_unseen: false,
                outside_brain: false,
                interpolation: Interpolation::Linear,
                template_sha256: "1".into(),
                saved: Vec::new(),
            };
            Report { choices: Some(choices), ..first.clone() }
        };
        let warnings = |a: &str, b: &str| compare(read(&choices(a)), read(&choices(b))).warnings;
        assert!(warnings("skull", "bet")[0].text.contains("other options"));
        assert!(warnings("mask a.nii", "mask b.nii").is_empty(), "each scan has a mask of its own");
        let warned = Report { warnings: vec![NumberedWarning { number: 1, text: "small".into() }], ..first.clone() };
        let warnings = compare(read(&first), read(&warned)).warnings;
        let Doubt { time_point, number, text, .. } = &warnings[0];
        assert_eq!((*time_point, *number, text.as_str()), (Some(When::Later), Some(1), "small"));
        assert!(warnings[0].to_string().ends_with("a.json: small (warning 1)"), "{}", warnings[0]);
    }

    #[test]
    fn different_patients_are_told_where_both_are_known() {
        let of = |id: Option<&str>| TimePoint { patient_id: id.map(String::from), ..point(5.0) };
        let warnings = |a: Option<&str>, b: Option<&str>| compare(of(a), of(b)).warnings;
        let told = warnings(Some("0a1b2c3d"), Some("11111111"));
        assert!(told.len() == 1 && told[0].text.contains("different patients") && told[0].time_point.is_none(), "{told:?}");
        for (a, b) in [(Some("0a1b2c3d"), Some("0a1b2c3d")), (Some("0a1b2c3d"), None), (None, Some("0a1b2c3d")), (None, None)] {
            assert!(warnings(a, b).is_empty(), "{a:?} {b:?}");
        }
    }

    #[test]
    fn json_has_fields_for_all_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        fs::write(&path, serde_json::to_vec(&Report::example("a")).unwrap()).unwrap();
        let report = TimePoint::read(&path).unwrap();
        let json = |earlier: TimePoint| serde_json::to_value(compare(earlier, report.clone())).unwrap();
        let found = json(point(10.0));
        let later = &found["time_points"][1];
        assert!(found["time_points"][0]["weights"].is_null() && found["time_points"][0]["method"].is_null(), "{found}");
        assert!(later["weights"]["sha256"].is_string() && later["method"]["threshold"].is_number(), "{found}");
        assert!(later["method"]["postprocessing"].is_object() && later["warnings"][0]["number"].is_number(), "{found}");
        assert_eq!((&found["change_ml"], &found["change_percent"]), (&2.5.into(), &25.0.into()));
        assert_eq!(found["expansion"], serde_json::json!({"above_6_ml": false, "above_33_percent": false}));
        assert_eq!((&found["warnings"][0]["time_point"], &found["warnings"][0]["file"]), (&"later".into(), &later["file"]));
        let new = json(point(0.0));
        assert!(new["change_percent"].is_null());
        assert_eq!(new["expansion"], serde_json::json!({"above_6_ml": true, "above_33_percent": null}));
    }

    #[test]
    fn all_labels_of_a_mask_count_and_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.nii");
        // 2 and 3 voxels of 30 mm3.
        let labels = mask([8, 8, 8], |_| false).map(|_| 0_u8);
        let header = nifti::Header::for_grid(labels.grid()).unwrap();
        let voxels = (0..labels.voxels().len()).map(|n| [1, 1, 4, 4, 4].get(n).copied().unwrap_or(0)).collect();
        nifti::write(&path, &crate::volume::Volume::new(labels.grid().clone(), voxels), &header).unwrap();
        let point = TimePoint::read(&path).unwrap();
        assert!((point.volume_ml - 0.15).abs() < 1e-9 && point.labels == [1.0, 4.0]);
        let warnings = compare(point.clone(), point).warnings;
        assert_eq!((warnings.len(), warnings[1].time_point), (2, Some(When::Later)));
        assert!(warnings[0].text.contains("holds 2 labels"), "{}", warnings[0]);
    }
}
