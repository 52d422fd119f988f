//! Which images lie in a folder, which series they are, and which of them is used.

use super::error::DicomError;
use super::series::{self, LEAST_SLICES, Series};
use super::slice::{Identity, Image, Slice};
use super::{file, slice};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The CT images of one study (of one patient, at one time), and what lay beside them.
#[derive(Debug, Default)]
pub struct Study {
    /// The folder that holds all of them.
    pub folder: PathBuf,
    /// The images.
    pub images: Vec<Image>,
    /// DICOM files in the same folders that could not be read: each may be a slice of it.
    pub broken: Vec<(PathBuf, DicomError)>,
    /// DICOM files that are no CT image, or a localizer, with the reason.
    pub others: Vec<(PathBuf, DicomError)>,
}

/// The studies that the DICOM files among `paths` make up, by their UIDs. What is DICOM is told from the content. A study of which only localizers are there has
/// no images. Files that cannot be read count for a study that has files in the same folder; where there is none, those of a folder are a study without images.
/// Other objects alone make one where there is no other.
pub fn find(paths: &[PathBuf]) -> Vec<Study> {
    let read = |path: &PathBuf| match file::is_dicom(path) {
        Ok(true) => Some(slice::read(path).map_err(|unreadable| unreadable.error)),
        Ok(false) => None,
        Err(error) => Some(Err(error)),
    };
    let read: Vec<_> = paths.par_iter().map(read).collect();
    let mut studies: BTreeMap<String, Study> = BTreeMap::new();
    let (mut broken, mut others) = (Vec::new(), Vec::new());
    for (path, image) in paths.iter().zip(read) {
        match image {
            None => {}
            Some(Ok(image)) => studies.entry(image.identity.study_uid.clone()).or_default().images.push(image),
            Some(Err(DicomError::Localizer { study })) => {
                let error = DicomError::Localizer { study: study.clone() };
                studies.entry(study).or_default().others.push((path.clone(), error));
            }
            Some(Err(error @ DicomError::NotCt(_))) => others.push((path.clone(), error)),
            Some(Err(error)) => broken.push((path.clone(), error)),
        }
    }
    let mut studies: Vec<Study> = studies.into_values().collect();
    // A file that cannot be read is a slice of images rather than of a localizer.
    studies.sort_by_key(|study| study.images.is_empty());
    for study in &mut studies {
        let folders = study.folders();
        let beside = |path: &Path| path.parent().is_some_and(|folder| folders.contains(folder));
        study.broken = broken.extract_if(.., |(path, _)| beside(path)).collect();
        study.others.extend(others.extract_if(.., |(path, _)| beside(path)));
        study.folder = common(&folders.iter().map(PathBuf::as_path).collect());
    }
    let mut unread: BTreeMap<PathBuf, Study> = BTreeMap::new();
    for (path, error) in broken {
        let folder = path.parent().unwrap_or(&path).to_path_buf();
        let study = Study { folder: folder.clone(), ..Study::default() };
        unread.entry(folder).or_insert(study).broken.push((path, error));
    }
    studies.extend(unread.into_values());
    if studies.is_empty() && !others.is_empty() {
        let folders = others.iter().filter_map(|(path, _)| path.parent()).collect();
        studies.push(Study { folder: common(&folders), others, ..Study::default() });
    }
    studies.sort_by(|a, b| a.folder.cmp(&b.folder));
    studies
}

/// The deepest folder that holds all of `folders`.
fn common(folders: &BTreeSet<&Path>) -> PathBuf {
    let mut folders = folders.iter();
    let mut common = folders.next().map_or_else(PathBuf::new, |folder| folder.to_path_buf());
    for folder in folders {
        while !folder.starts_with(&common) && common.pop() {}
    }
    common
}

/// The study of the image in the file at `path`, with no other series than the file's: all files of its folder, or the file alone where it has several frames, or
/// where it is no CT image or cannot be read.
pub fn of_file(path: &Path) -> Study {
    let alone = Study { folder: path.to_path_buf(), ..Study::default() };
    let image = match slice::read(path).map_err(|unreadable| unreadable.error) {
        Ok(image) if image.slices.len() > 1 => return Study { images: vec![image], ..alone },
        Ok(image) => image,
        Err(error @ (DicomError::NotCt(_) | DicomError::Localizer { .. })) => {
            return Study { others: vec![(path.to_path_buf(), error)], ..alone };
        }
        Err(error) => return Study { broken: vec![(path.to_path_buf(), error)], ..alone },
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    paths.sort();
    let series = &image.identity.series_uid;
    let with = |study: &Study| study.images.iter().any(|image| image.identity.series_uid == *series);
    let mut study = find(&paths).into_iter().find(with).unwrap_or(alone);
    study.images.retain(|image| image.identity.series_uid == *series);
    study
}

impl Study {
    /// The folders of the images; those of the localizers where there is no image.
    fn folders(&self) -> BTreeSet<PathBuf> {
        let images = self.images.iter().flat_map(|image| &image.slices).map(|slice| &slice.path);
        let localizers = self.others.iter().map(|(path, _)| path).filter(|_| self.images.is_empty());
        images.chain(localizers).filter_map(|path| path.parent()).map(Path::to_path_buf).collect()
    }

    /// Whether a scan should be here: images, a localizer, or files that cannot be read. Other DICOM objects, such as reports, are none.
    pub fn is_ct(&self) -> bool {
        let localizer = |(_, error): &(PathBuf, DicomError)| matches!(error, DicomError::Localizer { .. });
        !self.images.is_empty() || !self.broken.is_empty() || self.others.iter().any(localizer)
    }

    /// All series of the study, the one to use first: axial before others, original before derived, a soft kernel before an unknown and a sharp one, more slices
    /// before fewer, then by number and UID.
    ///
    /// # Errors
    /// [`DicomError::MixedPatients`].
    pub fn series(&self) -> Result<Vec<Series>, DicomError> {
        let patients: BTreeSet<&str> = self.images.iter().map(|image| image.identity.patient_id.as_str()).collect();
        if patients.len() > 1 {
            let study = self.images[0].identity.study_uid.clone();
            let patients = patients.into_iter().collect::<Vec<_>>().join(", ");
            return Err(DicomError::MixedPatients { study, patients });
        }
        let mut by_uid: BTreeMap<&str, Vec<(&Identity, &Slice)>> = BTreeMap::new();
        for image in &self.images {
            let slices = image.slices.iter().map(|slice| (&image.identity, slice));
            by_uid.entry(&image.identity.series_uid).or_default().extend(slices);
        }
        let mut all: Vec<Series> = by_uid.into_values().flat_map(|slices| series::split(&slices)).collect();
        for series in &mut all {
            series.doubts.extend(self.notes(series));
        }
        all.sort_by(Series::compare);
        Ok(all)
    }

    /// The series to use: the first of [`Study::series`], or the first of those whose UID or number is `wanted`.
    ///
    /// # Errors
    /// [`DicomError::NoSeries`], [`DicomError::NoSuchSeries`], [`DicomError::FewSlices`], [`DicomError::MixedPatients`], and the error of a file beside the series that
    /// cannot be read, for it may be one of its slices.
    pub fn choose(&self, wanted: Option<&str>) -> Result<Series, DicomError> {
        if let Some((path, error)) = self.broken.first() {
            return Err(error.clone().of(path));
        }
        let all = self.series()?;
        if all.is_empty() {
            return Err(DicomError::NoSeries(self.reasons()));
        }
        let list = |all: &[Series]| all.iter().map(Series::label).collect::<Vec<_>>().join("; ");
        let chosen = match wanted {
            None => &all[0],
            Some(wanted) => all.iter().find(|series| series.is(wanted)).ok_or_else(|| {
                let found = list(&all);
                DicomError::NoSuchSeries { wanted: wanted.into(), found }
            })?,
        };
        if chosen.slices.len() < LEAST_SLICES {
            return Err(DicomError::FewSlices { series: chosen.label(), slices: chosen.slices.len(), least: LEAST_SLICES });
        }
        let mut chosen = chosen.clone();
        if all.len() > 1 {
            let others: Vec<Series> = all.iter().filter(|series| series.label() != chosen.label()).cloned().collect();
            let how = if wanted.is_some() { "asked for" } else { "chosen by the rules" };
            chosen.choice =
                format!("of {} series, series {} is used, {how}; not used: {}", all.len(), chosen.label(), list(&others));
        }
        Ok(chosen)
    }

    /// What was odd about the files of a series and was assumed, each with the number of files.
    fn notes(&self, series: &Series) -> Vec<String> {
        let files: BTreeSet<&Path> = series.slices.iter().map(|slice| slice.path.as_path()).collect();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let used = |image: &&Image| image.slices.first().is_some_and(|slice| files.contains(slice.path.as_path()));
        for note in self.images.iter().filter(used).flat_map(|image| &image.notes) {
            *counts.entry(note).or_default() += 1;
        }
        let plural = |count| if count == 1 { "" } else { "s" };
        counts.into_iter().map(|(note, count)| format!("{note} ({count} file{})", plural(count))).collect()
    }

    /// Why there is no series, in short.
    fn reasons(&self) -> String {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (_, error) in &self.others {
            let what = match error {
                DicomError::NotCt(what) => what.clone(),
                _ => "a localizer".into(),
            };
            *counts.entry(what).or_default() += 1;
        }
        counts
            .into_iter()
            .map(|(what, count)| format!("{count} file{} {what}", if count == 1 { " is" } else { "s are" }))
            .collect::<Vec<_>>()
            .join(", ")
    }
}
