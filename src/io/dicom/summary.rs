//! What a conversion did, for reports and for the JSON file beside a converted volume.

use crate::words::counted;
use serde::{Deserialize, Serialize};

/// Which series became a volume, and how. Names of the scanner's settings are those of BIDS. Nothing in it names the patient.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "PascalCase")]
pub struct Summary {
    /// SeriesInstanceUID.
    #[serde(rename = "SeriesInstanceUID")]
    pub series_instance_uid: String,
    /// StudyInstanceUID.
    #[serde(rename = "StudyInstanceUID")]
    pub study_instance_uid: String,
    /// SeriesNumber.
    pub series_number: Option<i64>,
    /// SeriesDescription.
    pub series_description: String,
    /// Always CT.
    pub modality: String,
    /// ImageType.
    pub image_type: Vec<String>,
    /// Manufacturer.
    pub manufacturer: String,
    /// ManufacturerModelName.
    pub manufacturers_model_name: String,
    /// BodyPartExamined.
    pub body_part_examined: String,
    /// ConvolutionKernel.
    pub convolution_kernel: Vec<String>,
    /// KVP in kV.
    #[serde(rename = "KVP")]
    pub kvp: Option<f64>,
    /// SliceThickness of the first slice, in mm.
    pub slice_thickness: Option<f64>,
    /// Slices that were used.
    pub slices: usize,
    /// Columns, rows and slices of the volume.
    pub shape: [usize; 3],
    /// Distance of voxel centres in mm.
    pub spacing: [f64; 3],
    /// Degrees of gantry tilt that were corrected, from the slices' positions.
    pub tilt_corrected: Option<f64>,
    /// Columns and rows that the correction of the tilt added.
    pub tilt_added: Option<[usize; 2]>,
    /// Smallest and largest distance of slices in mm, where they were made equal.
    pub unequal_spacing_corrected: Option<[f64; 2]>,
    /// Why this series, where there were several.
    pub choice: String,
    /// What is doubtful: slices left out, slices missing.
    pub doubts: Vec<String>,
    /// The version of ichor.
    pub ichor_version: String,
    /// For research use only, not for diagnosis.
    pub notice: String,
}

impl Summary {
    /// The series in a few words, as archives show it: number and description.
    pub(crate) fn label(&self) -> String {
        let number = self.series_number.map_or_else(String::new, |number| format!(" {number}"));
        let description = self.series_description.trim();
        let colon = if description.is_empty() { "" } else { ": " };
        format!("series{number}{colon}{description}")
    }

    /// What was done and why, in sentences for a person.
    pub fn sentences(&self) -> Vec<String> {
        let mut sentences = vec![format!("DICOM series of {}", counted(self.slices, "slice"))];
        if !self.choice.is_empty() {
            sentences[0] = self.choice.clone();
        }
        if let (Some(degrees), Some(added)) = (self.tilt_corrected, self.tilt_added) {
            sentences.push(format!(
                "a tilt of {degrees:.1} degrees is corrected by shearing; {} added",
                if added[1] == 1 { "1 row is".into() } else { format!("{} rows are", added[1]) }
            ));
        }
        if let Some([smallest, largest]) = self.unequal_spacing_corrected {
            let [_, _, mm] = self.spacing;
            sentences.push(format!("slices {smallest:.2} to {largest:.2} mm apart are resampled to {mm:.2} mm"));
        }
        sentences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A summary of a series of 20 slices with these values in place of none.
    fn summary(changes: serde_json::Value) -> Summary {
        let mut values = serde_json::json!({
            "SeriesInstanceUID": "1.2", "StudyInstanceUID": "1.1", "SeriesNumber": null, "SeriesDescription": "",
            "Modality": "CT", "ImageType": [], "Manufacturer": "", "ManufacturersModelName": "", "BodyPartExamined": "",
            "ConvolutionKernel": [], "KVP": null, "SliceThickness": null, "Slices": 20, "Shape": [2, 3, 20],
            "Spacing": [0.5, 0.5, 2.5], "TiltCorrected": null, "TiltAdded": null, "UnequalSpacingCorrected": null,
            "Choice": "", "Doubts": [], "IchorVersion": "", "Notice": ""
        });
        let changes = changes.as_object().unwrap().clone();
        values.as_object_mut().unwrap().extend(changes);
        serde_json::from_value(values).unwrap()
    }

    #[test]
    fn a_series_is_called_by_its_number_and_description() {
        use serde_json::json;
        for (changes, label) in [
            (json!({}), "series"),
            (json!({"SeriesNumber": 3}), "series 3"),
            (json!({"SeriesNumber": 3, "SeriesDescription": " Head "}), "series 3: Head"),
            (json!({"SeriesDescription": "Head"}), "series: Head"),
        ] {
            assert_eq!(summary(changes).label(), label);
        }
    }

    #[test]
    fn what_was_corrected_is_told_in_sentences() {
        use serde_json::json;
        assert_eq!(summary(json!({})).sentences(), ["DICOM series of 20 slices"]);
        let changes = json!({"Choice": "of 2 series one", "TiltCorrected": 12.34, "TiltAdded": [0, 1]});
        let tilt = "a tilt of 12.3 degrees is corrected by shearing; 1 row is added";
        assert_eq!(summary(changes).sentences(), ["of 2 series one", tilt]);
        let changes = json!({"TiltCorrected": 12.0, "TiltAdded": [0, 4], "UnequalSpacingCorrected": [2.5, 5.0]});
        let tilt = "a tilt of 12.0 degrees is corrected by shearing; 4 rows are added";
        let spacing = "slices 2.50 to 5.00 mm apart are resampled to 2.50 mm";
        assert_eq!(summary(changes).sentences(), ["DICOM series of 20 slices", tilt, spacing]);
    }
}
