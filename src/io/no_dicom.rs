//! What stands for DICOM in a build without the feature `dicom`: files are told to be DICOM, and none is read.
//!
//! Names are those of the module in its place. Nobody has a [`Series`] or what is made of one.

#[path = "dicom/error.rs"]
mod error;
#[path = "dicom/summary.rs"]
mod summary;

pub use error::DicomError;
pub use summary::Summary;

use crate::volume::Volume;
use std::convert::Infallible;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Whether a file is DICOM: preamble and `DICM`.
///
/// # Errors
/// [`DicomError::Read`].
pub fn is_dicom(path: &Path) -> Result<bool, DicomError> {
    let mut magic = Vec::with_capacity(132);
    fs::File::open(path).map_err(DicomError::read)?.take(132).read_to_end(&mut magic).map_err(DicomError::read)?;
    Ok(magic.get(128..) == Some(b"DICM"))
}

/// DICOM files of one folder, none of which is read.
#[derive(Clone, Debug, Default)]
pub struct Study {
    /// The folder.
    pub folder: PathBuf,
    /// None.
    pub images: Vec<Image>,
    /// The files.
    pub broken: Vec<(PathBuf, Unreadable)>,
    /// None.
    pub others: Vec<(PathBuf, Unreadable)>,
    /// None.
    pub short: Vec<PathBuf>,
}

/// Why a file is not read.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// [`DicomError::NotInThisBuild`].
    pub error: DicomError,
}

/// The image of a file that was read.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its slices.
    pub slices: Vec<Slice>,
}

/// A slice of a file that was read.
#[derive(Clone, Debug)]
pub struct Slice {
    /// The file.
    pub path: PathBuf,
}

/// What names the patient and the study of a file that was read.
#[derive(Clone, Debug)]
pub struct Identity {
    /// StudyInstanceUID.
    pub study_uid: String,
    /// PatientID.
    pub patient_id: String,
}

/// A series that was read.
#[derive(Clone, Debug)]
pub struct Series {
    /// What identifies it.
    pub identity: Identity,
    /// Its slices.
    pub slices: Vec<Slice>,
    /// What is doubtful.
    pub doubts: Vec<String>,
    never: Infallible,
}

/// A series that has become a volume.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The series.
    pub series: Series,
    never: Infallible,
}

impl Study {
    /// That no file is read is told as it is for a CT.
    pub fn is_ct(&self) -> bool {
        true
    }

    /// Never.
    pub fn is_remnant(&self) -> bool {
        false
    }

    /// Never.
    pub fn is_page(&self) -> bool {
        false
    }

    /// None.
    pub fn series(&self) -> Vec<Series> {
        Vec::new()
    }

    /// Says that DICOM is not read.
    ///
    /// # Errors
    /// Always [`DicomError::NotInThisBuild`].
    pub fn choose(&self, _: Option<&str>) -> Result<Series, DicomError> {
        Err(DicomError::NotInThisBuild)
    }

    /// What this study is beside a series.
    pub fn beside(&self, series: &Series) -> Option<(String, bool)> {
        match series.never {}
    }
}

impl Series {
    /// Whether it is the wanted one.
    pub fn is(&self, _: &str) -> bool {
        match self.never {}
    }

    /// Its name.
    pub fn label(&self) -> String {
        match self.never {}
    }

    pub(crate) fn leaves_out(&mut self, _: &str) {
        match self.never {}
    }
}

impl Summary {
    /// The summary of a conversion.
    pub fn of(converted: &Converted) -> Summary {
        match converted.never {}
    }
}

/// Reads a series into a volume.
///
/// # Errors
/// None: there is no series.
pub fn convert(series: Series) -> Result<(Volume<f32>, Converted), DicomError> {
    match series.never {}
}

/// Finding files.
pub mod study {
    use super::{DicomError, Study, Unreadable, is_dicom};
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    /// The DICOM files among `paths`, those of a folder as one study.
    pub fn find(paths: &[PathBuf]) -> Vec<Study> {
        let mut studies: BTreeMap<&Path, Study> = BTreeMap::new();
        for path in paths.iter().filter(|path| is_dicom(path).unwrap_or(false)) {
            let folder = path.parent().unwrap_or(Path::new(""));
            let study = studies.entry(folder).or_insert_with(|| Study { folder: folder.into(), ..Study::default() });
            study.broken.push(unread(path));
        }
        studies.into_values().collect()
    }

    /// The file at `path`.
    pub fn of_file(path: &Path) -> Study {
        let folder = path.parent().unwrap_or(Path::new("")).into();
        Study { folder, broken: vec![unread(path)], ..Study::default() }
    }

    fn unread(path: &Path) -> (PathBuf, Unreadable) {
        (path.into(), Unreadable { error: DicomError::NotInThisBuild })
    }
}

/// What made a result, for DICOM.
#[derive(Clone, Debug)]
pub struct Algorithm {
    /// Name of the weights.
    pub weights: String,
    /// SHA-256 of the weights.
    pub sha256: String,
    /// What else was chosen.
    pub parameters: String,
}

/// DICOM-SEG.
pub mod segmentation {
    use super::{Algorithm, Converted};
    use crate::io::Result;
    use crate::volume::Volume;
    use std::path::Path;

    /// What names a segmentation.
    pub enum Uids {}

    /// Writes the mask of a series.
    ///
    /// # Errors
    /// None: there is no series.
    pub fn write(_: &Path, converted: &Converted, _: &Volume<bool>, _: &Algorithm) -> Result<Uids> {
        match converted.never {}
    }
}

/// Structured reports.
pub mod structured_report {
    use super::segmentation::Uids;
    use super::{Algorithm, Converted};
    use crate::io::Result;
    use std::path::Path;

    /// What a structured report says.
    #[derive(Clone, Debug)]
    pub struct Measurements {
        /// Volume of the hemorrhage in mL.
        pub volume_ml: f64,
        /// Remarks.
        pub remarks: Vec<String>,
    }

    /// Writes the structured report of a series.
    ///
    /// # Errors
    /// None: there is no series.
    pub fn write(_: &Path, converted: &Converted, _: &Uids, _: &Measurements, _: &Algorithm) -> Result<()> {
        match converted.never {}
    }
}
