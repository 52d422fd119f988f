//! Two time points of one patient: how much larger the hemorrhage has become.

use crate::io::nifti;
use crate::pipeline::report::{RESEARCH_USE_ONLY, Report};
use crate::pipeline::resume::Choices;
use crate::{Error, Result};
use serde::Serialize;
use std::fs;
use std::path::Path;

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
    /// Name and SHA-256 of the weights; absent for a mask.
    pub weights: Option<[String; 2]>,
    /// Threshold, what was done to the mask, and the other options that change a result, in words; absent for a mask.
    pub method: Option<String>,
    /// The warnings of the report.
    pub warnings: Vec<String>,
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
    /// 1 where the growth is above [`EXPANSION_ML`] or above [`EXPANSION_PERCENT`], else 0: a number for research, no diagnosis.
    pub above_6_ml_or_33_percent: u8,
    /// Why the two may not be comparable.
    pub warnings: Vec<String>,
    /// [`RESEARCH_USE_ONLY`].
    pub notice: &'static str,
}

impl TimePoint {
    /// Reads a report (a name that ends in .json) or a mask (NIfTI; above 0 inside).
    ///
    /// # Errors
    /// [`Error::Read`], as [`nifti::read`], and [`Error::Scan`] for a file that is neither report nor mask.
    pub fn read(path: &Path) -> Result<TimePoint> {
        let file = path.to_string_lossy().into_owned();
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json")) {
            let text = fs::read(path).map_err(Error::read(path))?;
            let report: Report = serde_json::from_slice(&text).map_err(|error| Error::Scan {
                path: path.to_path_buf(),
                problem: format!("it is no report of ichor segment: {error}"),
            })?;
            return Ok(TimePoint {
                file,
                volume_ml: report.volume_ml,
                method: Some(method(&report)),
                weights: Some([report.weights.name, report.weights.sha256]),
                warnings: report.warnings.into_iter().map(|warning| warning.text).collect(),
            });
        }
        let mask = nifti::read(path)?.volume;
        let inside = mask.voxels().iter().find(|&&value| value > 0.0);
        if mask.voxels().iter().any(|&value| value != 0.0 && Some(&value) != inside) {
            let problem =
                "it is no mask: it holds other values than 0 and one above; give NAME_ich.json or NAME_ich.nii.gz".into();
            return Err(Error::Scan { path: path.to_path_buf(), problem });
        }
        let voxels = mask.voxels().iter().filter(|&&value| value > 0.0).count();
        let volume_ml = voxels as f64 * mask.grid().voxel_mm3() / 1000.0;
        Ok(TimePoint { file, volume_ml, weights: None, method: None, warnings: Vec::new() })
    }
}

/// What two results must have in common so that a change is not that of an option.
fn method(report: &Report) -> String {
    let choices = report.choices.as_ref().map_or_else(String::new, |choices| {
        // Each scan has a mask of its own.
        let brain = choices.brain.split_once(' ').map_or(choices.brain.as_str(), |(kind, _)| kind);
        let Choices { outside_brain, interpolation, template_sha256, .. } = choices;
        format!(", brain by {brain}, blood outside of it {outside_brain}, {interpolation:?}, template {template_sha256}")
    });
    format!("threshold {}, {:?}{choices}", report.threshold, report.postprocessing)
}

/// Compares an earlier time point with a later one.
pub fn compare(earlier: TimePoint, later: TimePoint) -> Comparison {
    let change_ml = later.volume_ml - earlier.volume_ml;
    let change_percent = (earlier.volume_ml > 0.0).then(|| 100.0 * change_ml / earlier.volume_ml);
    // A new hemorrhage has no percentage: millilitres alone tell.
    let above = change_ml > EXPANSION_ML || change_percent.is_some_and(|percent| percent > EXPANSION_PERCENT);
    let mut warnings = Vec::new();
    if earlier.weights.is_some() && later.weights.is_some() {
        if earlier.weights != later.weights {
            warnings.push("the two were made with different weights: a change may be theirs".to_string());
        } else if earlier.method != later.method {
            warnings.push("the two were made with another threshold or other options: a change may be theirs".to_string());
        }
    }
    for point in [&earlier, &later] {
        warnings.extend(point.warnings.iter().map(|text| format!("{}: {text}", point.file)));
    }
    Comparison {
        time_points: [earlier, later],
        change_ml,
        change_percent,
        above_6_ml_or_33_percent: u8::from(above),
        warnings,
        notice: RESEARCH_USE_ONLY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::batch::write_mask;
    use crate::pipeline::report::NumberedWarning;
    use crate::pipeline::segment::Interpolation;
    use crate::volume::testing::mask;

    fn point(volume_ml: f64) -> TimePoint {
        TimePoint { file: "a".into(), volume_ml, weights: None, method: None, warnings: Vec::new() }
    }

    #[test]
    fn growth_above_6_ml_or_33_percent_is_flagged_and_just_that_much_is_not() {
        let cases = [
            (30.0, 36.0, 0),
            (30.0, 36.5, 1),
            (3.0, 3.98, 0),
            (3.0, 4.0, 1),
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
        assert!(compare(read(&first), read(&other)).warnings[0].contains("different weights"));
        let other = Report { threshold: 0.4, ..first.clone() };
        assert!(compare(read(&first), read(&other)).warnings[0].contains("another threshold"));
        let choices = |brain: &str| {
            let choices = Choices {
                input: "a.nii".into(),
                brain: brain.into(),
                outside_brain: false,
                interpolation: Interpolation::Linear,
                template_sha256: "1".into(),
                saved: Vec::new(),
            };
            Report { choices: Some(choices), ..first.clone() }
        };
        let warnings = |a: &str, b: &str| compare(read(&choices(a)), read(&choices(b))).warnings;
        assert!(warnings("skull", "bet")[0].contains("other options"));
        assert!(warnings("mask a.nii", "mask b.nii").is_empty(), "each scan has a mask of its own");
        let warned = Report { warnings: vec![NumberedWarning { number: 1, text: "small".into() }], ..first.clone() };
        assert!(compare(read(&first), read(&warned)).warnings[0].contains("small"));
    }
}
