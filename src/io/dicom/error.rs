//! What can be wrong with DICOM files.

use std::io;
use std::sync::Arc;

/// Why a DICOM file or series cannot be used. `Display` is one sentence that goes behind the name of a file or folder.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DicomError {
    /// The operating system refuses.
    #[error("cannot be read: {0}")]
    Read(#[source] Arc<io::Error>),
    /// A build without the feature `dicom`.
    #[error("this is DICOM, which this build of ichor does not read: build with the feature `dicom`, or convert it to NIfTI")]
    NotInThisBuild,
    /// Neither preamble and `DICM` nor a data set that begins as one.
    #[error("this is no DICOM file")]
    NotDicom,
    /// The file ends too early.
    #[error("the file is cut: its {what} needs {needed} bytes, and {found} are there; copy it again")]
    Cut {
        /// The part that is cut.
        what: String,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// The data set breaks the rules of its encoding.
    #[error("the data set cannot be parsed: {0}")]
    Parse(String),
    /// An encoding that ichor does not decode.
    #[error(
        "{name} (transfer syntax {uid}) is not decoded; convert it to an uncompressed one first, for example by dcmdjpeg, dcmdjpls or gdcmconv --raw"
    )]
    TransferSyntax {
        /// The UID.
        uid: String,
        /// Its name, or `unknown`.
        name: String,
    },
    /// More than a scan can have.
    #[error("{found} {what}, and at most {most} are read: the file is damaged, or it is no head CT")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        found: u64,
        /// The limit.
        most: u64,
    },
    /// An attribute that is needed.
    #[error(
        "the attribute {0} is missing: the file cannot be placed or scaled without it; export the series again, with all its attributes"
    )]
    Missing(String),
    /// An attribute whose value cannot be used.
    #[error("the attribute {name} has the value {value:?}, which cannot be used")]
    Value {
        /// The attribute.
        name: String,
        /// Its value.
        value: String,
    },
    /// No picture of a CT.
    #[error("this is no CT image: it is {0}")]
    NotCt(String),
    /// Many frames in a file of the class for one.
    #[error(
        "the file is CT Image Storage of {0} frames, and nothing says where each of them lies: export the series with one file for each slice, or as Enhanced CT"
    )]
    Frames(usize),
    /// A localizer (scout, topogram), with the UID of its study.
    #[error("this is no CT image of a series: it is a localizer")]
    Localizer {
        /// StudyInstanceUID.
        study: String,
    },
    /// Pixels that do not decode.
    #[error("the pixels cannot be decoded: {0}")]
    Pixels(String),
    /// A folder without a series that could be used.
    #[error("there is no CT series that can be used: {0}; give the folder of the axial series")]
    NoSeries(String),
    /// `--series` names none of the series.
    #[error("no series is {wanted:?}; there are: {found}")]
    NoSuchSeries {
        /// What was asked for.
        wanted: String,
        /// What is there.
        found: String,
    },
    /// `--series` gives a number that several series have.
    #[error("several series have the number {wanted:?}, give the UID of one of them: {found}")]
    SeveralSeries {
        /// What was asked for.
        wanted: String,
        /// The series of that number.
        found: String,
    },
    /// A series whose slices make no volume: they are those of two scans that no attribute tells apart, or lie at one place.
    #[error("series {series} cannot be used: {fault}")]
    Mixed {
        /// The series.
        series: String,
        /// What is wrong with its slices.
        fault: String,
    },
    /// One study of two patients.
    #[error(
        "the files of study {study} belong to different patients ({patients}): they were mixed, sort them into folders, or give --series where each series is of one patient"
    )]
    MixedPatients {
        /// UID of the study.
        study: String,
        /// The patients' identifiers.
        patients: String,
    },
    /// Several studies where one volume is wanted.
    #[error("there are {count} studies: give the folder of one of them, or --series with the UID of a series; {found}")]
    SeveralStudies {
        /// How many.
        count: usize,
        /// Their series.
        found: String,
    },
    /// Too few slices for a volume.
    #[error("series {series} has {slices} slice{}: a volume needs at least {least}; give the folder that holds all of them", if *slices == 1 { "" } else { "s" })]
    FewSlices {
        /// The series.
        series: String,
        /// Its slices.
        slices: usize,
        /// How many are needed.
        least: usize,
    },
    /// A volume that would be too large after its corrections.
    #[error("the series would be a volume of {0} x {1} x {2} voxels, which is too large")]
    Volume(usize, usize, usize),
    /// The computer has too little memory for the series.
    #[error("its slices need {0} bytes of memory, which cannot be had: free some, or use a machine that has more")]
    Memory(u64),
    /// The slice of a file whose pixels fail, in a series that is otherwise good.
    #[error("{file}: {source}")]
    File {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: Box<DicomError>,
    },
}

impl DicomError {
    /// A [`DicomError::Read`]; made for `map_err`.
    pub(super) fn read(error: io::Error) -> Self {
        DicomError::Read(Arc::new(error))
    }
}
