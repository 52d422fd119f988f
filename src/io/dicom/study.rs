//! Which images lie in a folder, which series they are, and which of them is used.

use super::error::DicomError;
use super::series::{self, LEAST_SLICES, Series};
use super::slice::{Identity, Image, Slice, Unreadable};
use super::stacks;
use super::{file, slice};
use crate::words::counted;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The CT images of one study (of one patient, at one time), and what lay beside them.
#[derive(Debug, Default)]
pub struct Study {
    /// The folder that holds all of them.
    pub folder: PathBuf,
    /// The images.
    pub images: Vec<Image>,
    /// DICOM files that could not be read: of this study, or, where their study is not known, in the same folders, so that each may be a slice of it.
    pub broken: Vec<(PathBuf, Unreadable)>,
    /// DICOM files that are no CT image, or a localizer, with the reason.
    pub others: Vec<(PathBuf, Unreadable)>,
    /// Files in the study's folder or below it of which nothing or less than a DICOM file's beginning is there.
    pub short: Vec<PathBuf>,
    /// Images in the same folders that name one of this study's series, and another study.
    pub astray: Vec<Slice>,
}

/// What a file turned out to be.
enum Found {
    Image(Box<Image>),
    Unreadable(Unreadable),
    Short,
    Foreign,
}

fn look(path: &Path) -> Found {
    match file::is_dicom(path) {
        Ok(true) => match slice::read(path) {
            Ok(image) => Found::Image(image.into()),
            Err(unreadable) => Found::Unreadable(unreadable),
        },
        Ok(false) if is_short(path) => Found::Short,
        Ok(false) => Found::Foreign,
        Err(error) => Found::Unreadable(error.into()),
    }
}

/// Whether a file has no bytes, or so few that a DICOM file of them would be cut in its preamble or `DICM`, or begins with zeros in place of `DICM`; short texts are none.
fn is_short(path: &Path) -> bool {
    const PREAMBLE: usize = 132;
    let mut bytes = Vec::with_capacity(PREAMBLE);
    let read = fs::File::open(path).and_then(|file| file.take(PREAMBLE as u64).read_to_end(&mut bytes));
    let text = || std::str::from_utf8(&bytes).is_ok_and(|text| text.chars().all(|c| !c.is_control() || c.is_whitespace()));
    match read {
        Err(_) => false,
        Ok(0) => true,
        Ok(PREAMBLE) => bytes.iter().all(|&byte| byte == 0),
        Ok(_) => {
            !text() || path.extension().is_some_and(|ending| ["dcm", "ima"].iter().any(|own| ending.eq_ignore_ascii_case(own)))
        }
    }
}

/// The studies that the DICOM files among `paths` make up, by their UIDs. What is DICOM is told from the content. A study of which only localizers are there has
/// no images. Files that cannot be read count for their study; where that is not known, for one that has files in the same folder; where there is none, those of a folder are a
/// study without images. Other objects alone make one where there is no other.
pub fn find(paths: &[PathBuf]) -> Vec<Study> {
    let found: Vec<Found> = paths.par_iter().map(|path| look(path)).collect();
    let mut studies: BTreeMap<String, Study> = BTreeMap::new();
    let (mut unread, mut broken, mut others, mut short) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (path, found) in paths.iter().zip(found) {
        match found {
            Found::Foreign => {}
            Found::Short => short.push(path.clone()),
            Found::Image(image) => studies.entry(image.identity.study_uid.clone()).or_default().images.push(*image),
            Found::Unreadable(unreadable) => match &unreadable.error {
                DicomError::Localizer { study } => {
                    studies.entry(study.clone()).or_default().others.push((path.clone(), unreadable));
                }
                DicomError::NotCt(_) => others.push((path.clone(), unreadable)),
                _ => unread.push((path.clone(), unreadable)),
            },
        }
    }
    // A file beside images of its series belongs to their study, whatever study it names.
    let beside = |image: &Image, path: &Path| image.slices.iter().any(|slice| slice.path.parent() == path.parent());
    let home = |path: &Path, unreadable: &Unreadable| {
        let mut images = studies.values().flat_map(|study| &study.images);
        let own = |image: &&Image| image.identity.series_uid == unreadable.series_uid && beside(image, path);
        images.find(own).map_or_else(|| unreadable.study_uid.clone(), |image| image.identity.study_uid.clone())
    };
    let homes: Vec<String> = unread.iter().map(|(path, unreadable)| home(path, unreadable)).collect();
    for ((path, unreadable), home) in unread.into_iter().zip(homes) {
        match home.as_str() {
            "" => broken.push((path, unreadable)),
            _ => studies.entry(home).or_default().broken.push((path, unreadable)),
        }
    }
    let mut studies: Vec<Study> = studies.into_values().collect();
    // A file that cannot be read is a slice of images rather than of a localizer.
    studies.sort_by_key(|study| study.images.is_empty());
    for study in &mut studies {
        let folders = study.folders();
        let beside = |path: &Path| path.parent().is_some_and(|folder| folders.contains(folder));
        let own = |unreadable: &Unreadable| {
            let series = |image: &Image| image.identity.series_uid == unreadable.series_uid;
            !unreadable.series_uid.is_empty() && study.images.iter().any(series)
        };
        study.broken.extend(broken.extract_if(.., |(path, _)| beside(path)));
        study.others.extend(others.extract_if(.., |(path, unreadable)| beside(path) || own(unreadable)));
        study.folder = common(&folders.iter().map(PathBuf::as_path).collect());
        study.short = short.iter().filter(|path| path.starts_with(&study.folder)).cloned().collect();
    }
    stray(&mut studies);
    pages_beside(&mut studies);
    let mut unknown: BTreeMap<PathBuf, Study> = BTreeMap::new();
    for (path, error) in broken {
        let folder = path.parent().unwrap_or(&path).to_path_buf();
        let study = Study { folder: folder.clone(), ..Study::default() };
        unknown.entry(folder).or_insert(study).broken.push((path, error));
    }
    studies.extend(unknown.into_values());
    if studies.is_empty() && !others.is_empty() {
        let folders = others.iter().filter_map(|(path, _)| path.parent()).collect();
        studies.push(Study { folder: common(&folders), others, ..Study::default() });
    }
    studies.sort_by(|a, b| a.folder.cmp(&b.folder));
    studies
}

/// Pages of text that name a study of their own, and lie beside images or in a folder above or below theirs, are other objects of that study.
fn pages_beside(studies: &mut Vec<Study>) {
    let pages: Vec<Study> = studies.extract_if(.., |study| study.is_page()).collect();
    for page in pages {
        let near = |study: &&mut Study| {
            let has = |folder: &PathBuf| folder.starts_with(&page.folder) || page.folder.starts_with(folder);
            !study.images.is_empty() && study.folders().iter().any(has)
        };
        match studies.iter_mut().find(near) {
            Some(study) => study.others.extend(page.broken.into_iter().chain(page.others)),
            None => studies.push(page),
        }
    }
}

/// Finds images that lie in a folder of a study, or below one, and name one of its series and another study.
fn stray(studies: &mut [Study]) {
    let mut by_series: BTreeMap<&str, Vec<(usize, &Slice)>> = BTreeMap::new();
    for (n, study) in studies.iter().enumerate() {
        for image in &study.images {
            let slices = by_series.entry(&image.identity.series_uid).or_default();
            slices.extend(image.slices.iter().map(|slice| (n, slice)));
        }
    }
    let several = |slices: &Vec<(usize, &Slice)>| slices.iter().any(|(study, _)| *study != slices[0].0);
    let mut astray: Vec<Vec<Slice>> = vec![Vec::new(); studies.len()];
    for slices in by_series.values().filter(|slices| several(slices)) {
        for (n, study) in studies.iter().enumerate().filter(|(n, _)| slices.iter().any(|(study, _)| study == n)) {
            let near = |path: &Path| {
                let Some(folder) = path.parent() else { return false };
                study.folders().iter().any(|own| own.starts_with(folder) || folder.starts_with(own))
            };
            let others = slices.iter().filter(|(study, slice)| *study != n && near(&slice.path));
            astray[n].extend(others.map(|(_, slice)| (*slice).clone()));
        }
    }
    for (study, astray) in studies.iter_mut().zip(astray) {
        study.astray = astray;
    }
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
pub(crate) fn of_file(path: &Path) -> Study {
    let alone = Study { folder: path.to_path_buf(), ..Study::default() };
    let image = match slice::read(path) {
        Ok(image) if image.slices.len() > 1 => return Study { images: vec![image], ..alone },
        Ok(image) => image,
        Err(unreadable) if matches!(unreadable.error, DicomError::NotCt(_) | DicomError::Localizer { .. }) => {
            return Study { others: vec![(path.to_path_buf(), unreadable)], ..alone };
        }
        Err(unreadable) => return Study { broken: vec![(path.to_path_buf(), unreadable)], ..alone },
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    paths.sort();
    let series = &image.identity.series_uid;
    let with = |study: &Study| study.images.iter().any(|image| image.identity.series_uid == *series);
    let mut study = find(&paths).into_iter().find(with).unwrap_or(alone);
    study.images.retain(|image| image.identity.series_uid == *series);
    study.broken.retain(|(_, unreadable)| unreadable.series_uid.is_empty() || unreadable.series_uid == *series);
    study
}

impl Study {
    /// The folders of the images; those of the localizers and of what cannot be read where there is no image.
    fn folders(&self) -> BTreeSet<PathBuf> {
        let images = self.images.iter().flat_map(|image| &image.slices).map(|slice| &slice.path);
        let rest = self.others.iter().chain(&self.broken).map(|(path, _)| path).filter(|_| self.images.is_empty());
        images.chain(rest).filter_map(|path| path.parent()).map(Path::to_path_buf).collect()
    }

    /// Whether a scan should be here: images, a localizer, or files that cannot be read. Other DICOM objects, such as reports, are none.
    pub(crate) fn is_ct(&self) -> bool {
        let localizer = |(_, other): &(PathBuf, Unreadable)| matches!(other.error, DicomError::Localizer { .. });
        !self.images.is_empty() || !self.broken.is_empty() || self.others.iter().any(localizer)
    }

    /// Whether nothing is here but a few images or pages of text that make no volume: a scan that lacks its files, or what lay beside one.
    pub(crate) fn is_remnant(&self) -> bool {
        let slices: usize = self.images.iter().map(|image| image.slices.len()).sum();
        let damaged = |(_, unreadable): &(PathBuf, Unreadable)| !matches!(unreadable.error, DicomError::Missing(_));
        slices < LEAST_SLICES && self.broken.len() < LEAST_SLICES && !self.broken.iter().any(damaged)
    }

    /// Says that the images of this study lie beside a series of another one and are not used, and whether they could be slices of it; `None` where there are none.
    pub(crate) fn beside(&self, series: &Series) -> Option<(String, bool)> {
        let slices: Vec<&Slice> = self.images.iter().flat_map(|image| &image.slices).collect();
        let study = &self.images.first()?.identity.study_uid;
        let study = if study.is_empty() { "none" } else { study };
        let alike = slices.iter().any(|slice| stacks::same_geometry(&series.slices[0], slice));
        let could = if alike { ", which could be slices of the series" } else { "" };
        let names = stacks::names(&slices);
        let text = format!("{} of another study (StudyInstanceUID {study}){could}: {names}", counted(slices.len(), "image"));
        Some((text, alike))
    }

    /// Whether a file that cannot be read is a page of text: a picture of class CT without a place, of a series that has
    /// no slices. Where many lack their places and are called originals, it is rather a scan whose places were lost.
    pub(super) fn is_page_of_text(&self, file: &Unreadable) -> bool {
        let of_it = |other: &&(PathBuf, Unreadable)| other.1.series_uid == file.series_uid;
        let alike = self.broken.iter().chain(&self.others).filter(of_it).count();
        matches!(file.error, DicomError::Missing(_))
            && file.without_place
            && !self.images.iter().any(|image| image.identity.series_uid == file.series_uid)
            && (alike < LEAST_SLICES || !file.original)
    }

    /// Whether nothing is here but a few pages of text.
    pub(crate) fn is_page(&self) -> bool {
        self.images.is_empty() && !self.broken.is_empty() && self.is_remnant()
    }

    /// All series of the study, each of several parts where its slices are those of several scans, the one to use first: by the rules of docs/dicom.md.
    pub fn series(&self) -> Vec<Series> {
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
        all
    }

    /// The series to use: the first of [`Study::series`], or the first part of that whose UID or number is `wanted`, or the part that `wanted` names.
    ///
    /// # Errors
    /// [`DicomError::NoSeries`], [`DicomError::NoSuchSeries`], [`DicomError::SeveralSeries`] for a number of several, [`DicomError::FewSlices`],
    /// [`DicomError::Mixed`], [`DicomError::MixedPatients`], and the error of a file that cannot be read and is a slice of the series, or may be one.
    pub fn choose(&self, wanted: Option<&str>) -> Result<Series, DicomError> {
        self.choose_from(&self.series(), wanted)
    }

    /// As [`Study::choose`], from the series that [`Study::series`] gave.
    ///
    /// # Errors
    /// As [`Study::choose`].
    pub(crate) fn choose_from(&self, all: &[Series], wanted: Option<&str>) -> Result<Series, DicomError> {
        let chosen = self.pick(all, wanted)?;
        let uid = chosen.identity.series_uid.as_str();
        let patients: BTreeSet<&str> = self.patients(|image| image.identity.series_uid == uid);
        if patients.len() > 1 {
            return Err(self.mixed_patients(patients));
        }
        let own = self.broken.iter().find(|(_, unreadable)| unreadable.series_uid == uid);
        if let Some((path, unreadable)) = own {
            return Err(unreadable.error.clone().of(path));
        }
        let mut doubts = Vec::new();
        let folders: BTreeSet<&Path> = chosen.slices.iter().filter_map(|slice| slice.path.parent()).collect();
        let mut lost = Vec::new();
        for (path, unreadable) in &self.broken {
            let beside = path.parent().is_some_and(|folder| folders.contains(folder));
            let error = || unreadable.error.clone().of(path);
            let known = !unreadable.series_uid.is_empty();
            if beside && !known && wanted.is_none() {
                return Err(error());
            }
            // One or two files of a series of their own may be slices of this one too; pages of text, which lack attributes, are not.
            let files = self.broken.iter().filter(|(_, other)| other.series_uid == unreadable.series_uid).count();
            let images = self.images.iter().any(|image| image.identity.series_uid == unreadable.series_uid);
            let page = matches!(unreadable.error, DicomError::Missing(_));
            if beside && (!known || files < LEAST_SLICES && !images && !page) {
                lost.push(error());
            }
        }
        if let Some(first) = lost.first() {
            let (count, more) = (lost.len(), if lost.len() > 1 { ", ..." } else { "" });
            doubts
                .push(format!("{count} file{} beside the series cannot be read, and may be of it: {first}{more}", plural(count)));
        }
        if let Some(fault) = &chosen.fault {
            return Err(DicomError::Mixed { series: chosen.label(), fault: fault.clone() });
        }
        if chosen.slices.len() < LEAST_SLICES {
            return Err(DicomError::FewSlices { series: chosen.label(), slices: chosen.slices.len(), least: LEAST_SLICES });
        }
        doubts.extend(self.other_patients(all, chosen, wanted)?);
        doubts.extend(self.doubts(all, chosen, wanted));
        let mut chosen = chosen.clone();
        chosen.doubts.extend(doubts);
        if all.len() > 1 {
            let others: Vec<&Series> = all.iter().filter(|series| !same(series, &chosen)).collect();
            let how = if wanted.is_some() { "asked for" } else { "chosen by the rules" };
            let list = list(&others, |series| {
                if wanted.is_some() { series.label() } else { format!("{}: {}", series.label(), series.loses_by(&chosen)) }
            });
            chosen.choice = format!("of {} series, series {} is used, {how}; not used: {list}", all.len(), chosen.label());
        }
        let known = self.broken.iter().filter(|(_, other)| !other.series_uid.is_empty());
        let (pages, unusable): (Vec<_>, Vec<_>) = known.partition(|(_, other)| self.is_page_of_text(other));
        if !pages.is_empty() {
            let of = if pages.len() == 1 { "a page".into() } else { counted(pages.len(), "page") };
            let names: Vec<String> = pages.iter().take(3).map(|(path, _)| name(path)).collect();
            let more = if pages.len() > 3 { ", ..." } else { "" };
            chosen.leaves_out(&format!("{of} of text ({}{more})", names.join(", ")));
        }
        if let Some((path, first)) = unusable.first() {
            let of = if unusable.len() == 1 { "a file".into() } else { counted(unusable.len(), "file") };
            chosen.leaves_out(&format!("{of} of another series, as {}", first.error.clone().of(path)));
        }
        if !self.others.is_empty() {
            chosen.leaves_out(&format!("what is no slice of a scan: {}", self.reasons()));
        }
        Ok(chosen)
    }

    fn pick<'a>(&self, all: &'a [Series], wanted: Option<&str>) -> Result<&'a Series, DicomError> {
        let unread = |series: Option<&str>| {
            let of_series = |(_, unreadable): &&(PathBuf, Unreadable)| series.is_none_or(|uid| unreadable.series_uid == uid);
            self.broken.iter().find(of_series).map(|(path, unreadable)| unreadable.error.clone().of(path))
        };
        let Some(wanted) = wanted else {
            return all.first().ok_or_else(|| unread(None).unwrap_or_else(|| DicomError::NoSeries(self.reasons())));
        };
        let found: Vec<&Series> = all.iter().filter(|series| series.is(wanted)).collect();
        let series: BTreeSet<&str> = found.iter().map(|series| series.identity.series_uid.as_str()).collect();
        match found.first() {
            Some(first) if series.len() == 1 => Ok(first),
            Some(_) => Err(DicomError::SeveralSeries { wanted: wanted.into(), found: list(&found, Series::label) }),
            None => Err(unread(Some(wanted)).unwrap_or_else(|| {
                if all.is_empty() {
                    return unread(None).unwrap_or_else(|| DicomError::NoSeries(self.reasons()));
                }
                let found = list(&all.iter().collect::<Vec<_>>(), Series::label);
                DicomError::NoSuchSeries { wanted: wanted.into(), found }
            })),
        }
    }

    fn patients(&self, of: impl Fn(&Image) -> bool) -> BTreeSet<&str> {
        self.images.iter().filter(|image| of(image)).map(|image| image.identity.patient_id.as_str()).collect()
    }

    fn mixed_patients(&self, patients: BTreeSet<&str>) -> DicomError {
        let study = self.images[0].identity.study_uid.clone();
        let patients = patients.into_iter().collect::<Vec<_>>().join(", ");
        DicomError::MixedPatients { study, patients }
    }

    /// A sentence about images of other patients in the study.
    ///
    /// # Errors
    /// [`DicomError::MixedPatients`] where such a series could be used too and none was asked for: there is no telling whose scan is wanted.
    fn other_patients(&self, all: &[Series], chosen: &Series, wanted: Option<&str>) -> Result<Option<String>, DicomError> {
        let patients = self.patients(|_| true);
        if patients.len() < 2 {
            return Ok(None);
        }
        let own = &chosen.identity.patient_id;
        let others: Vec<&Series> = all.iter().filter(|series| series.identity.patient_id != *own).collect();
        if wanted.is_none() && others.iter().any(|series| series.is_usable()) {
            return Err(self.mixed_patients(patients));
        }
        let list = list(&others, |series| format!("PatientID {:?}: series {}", series.identity.patient_id, series.label()));
        Ok(Some(format!("the study has images of another patient; used is PatientID {own:?}, not used {list}")))
    }

    /// What is doubtful about a chosen series because of what lies beside it.
    fn doubts(&self, all: &[Series], chosen: &Series, wanted: Option<&str>) -> Vec<String> {
        let mut doubts = Vec::new();
        let uid = &chosen.identity.series_uid;
        // Other parts of the same series.
        let parts: Vec<&Series> =
            all.iter().filter(|series| series.identity.series_uid == *uid && !same(series, chosen)).collect();
        for part in parts.iter().take(MOST_LISTED) {
            let handle = if part.is_usable() { format!(" (--series {})", part.handle(all)) } else { String::new() };
            doubts.push(format!("{}{handle}", chosen.left_out(part)));
        }
        if parts.len() > MOST_LISTED {
            let slices: usize = parts[MOST_LISTED..].iter().map(|part| part.slices.len()).sum();
            doubts.push(format!("{} more parts of the same series with {slices} slices are left out", parts.len() - MOST_LISTED));
        }
        // Another series that goes on where this one ends.
        for other in all.iter().filter(|series| series.identity.series_uid != *uid && goes_on(chosen, series)) {
            doubts.push(format!(
                "series {} (SeriesInstanceUID) fits between or onto the slices of this one, and is not used: this one may be a part of a scan",
                other.label()
            ));
        }
        // Files that should be slices of this series.
        let strays: Vec<&Slice> = self.astray.iter().filter(|slice| !slice.path.as_os_str().is_empty()).collect();
        if !strays.is_empty() {
            let count = strays.len();
            doubts.push(format!(
                "{count} file{} of one of its series name{} another study (StudyInstanceUID) and {} left out: {}",
                plural(count),
                if count == 1 { "s" } else { "" },
                if count == 1 { "is" } else { "are" },
                stacks::names(&strays)
            ));
        }
        for (path, other) in self.others.iter().filter(|(_, other)| other.series_uid == *uid) {
            doubts.push(format!("a file of the series is left out: {}", other.error.clone().of(path)));
        }
        if !self.short.is_empty() {
            let names: Vec<String> = self.short.iter().take(3).map(|path| name(path)).collect();
            let more = if self.short.len() > 3 { ", ..." } else { "" };
            let count = self.short.len();
            doubts.push(format!(
                "{count} file{} beside the series of no bytes or cut at {} beginning, which may be slices of it: {}{more}",
                plural(count),
                if count == 1 { "its" } else { "their" },
                names.join(", ")
            ));
        }
        // What the header says about its use.
        if let Some(why) = chosen.contrast_agent() {
            doubts.push(format!("the series has contrast agent ({why}), which looks like blood"));
        }
        if let Some(why) = chosen.elsewhere() {
            doubts.push(format!("the series is not that of a head ({why})"));
        }
        if wanted.is_none() {
            doubts.extend(self.blocked(all, chosen));
        }
        doubts
    }

    /// Sentences about series that might have been preferred, and cannot be used.
    fn blocked(&self, all: &[Series], chosen: &Series) -> Vec<String> {
        let other = |series: &&Series| series.identity.series_uid != chosen.identity.series_uid;
        let faulty = all.iter().filter(other).filter_map(|series| {
            let fault = series.fault.as_ref().filter(|_| series.slices.len() >= LEAST_SLICES && series.spans_a_volume())?;
            Some(format!("series {} cannot be used: {fault}", series.label()))
        });
        let mut doubts: Vec<String> = faulty.take(MOST_LISTED).collect();
        let mut unread: BTreeMap<&str, Vec<&(PathBuf, Unreadable)>> = BTreeMap::new();
        for file in self.broken.iter().filter(|(_, file)| !self.is_page_of_text(file)) {
            unread.entry(&file.1.series_uid).or_default().push(file);
        }
        for files in unread.values().filter(|files| files.len() >= LEAST_SLICES) {
            let (path, unreadable) = files[0];
            doubts.push(format!("a series of {} files cannot be read: {}", files.len(), unreadable.error.clone().of(path)));
        }
        doubts
    }

    /// What was odd about the files of a series and was assumed, each with the number of files.
    fn notes(&self, series: &Series) -> Vec<String> {
        let files: BTreeSet<&Path> = series.slices.iter().map(|slice| slice.path.as_path()).collect();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let used = |image: &&Image| image.slices.first().is_some_and(|slice| files.contains(slice.path.as_path()));
        for note in self.images.iter().filter(used).flat_map(|image| &image.notes) {
            *counts.entry(note).or_default() += 1;
        }
        counts.into_iter().map(|(note, count)| format!("{note} ({count} file{})", plural(count))).collect()
    }

    /// Why there is no series, in short.
    fn reasons(&self) -> String {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for what in self.kinds() {
            *counts.entry(what).or_default() += 1;
        }
        counts
            .into_iter()
            .map(|(what, count)| format!("{count} file{} {what}", if count == 1 { " is" } else { "s are" }))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// What each of the files is that are no CT images of a series.
    pub(super) fn kinds(&self) -> impl Iterator<Item = String> {
        self.others.iter().map(|(_, other)| match &other.error {
            _ if self.is_page_of_text(other) => PAGE.into(),
            DicomError::NotCt(what) => what.clone(),
            DicomError::Localizer { .. } => "a localizer".into(),
            error => format!("of another study, and unreadable: {error}"),
        })
    }
}

/// What a picture of class CT without a place is, beside a scan.
pub(super) const PAGE: &str = "a page of text";
/// So many series or parts are written out in a sentence.
const MOST_LISTED: usize = 6;

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn same(one: &Series, other: &Series) -> bool {
    one.identity.series_uid == other.identity.series_uid && one.part == other.part
}

/// Series in words, the first of them written out.
fn list(series: &[&Series], words: impl Fn(&Series) -> String) -> String {
    let mut text = series.iter().take(MOST_LISTED).map(|series| words(series)).collect::<Vec<_>>().join("; ");
    if series.len() > MOST_LISTED {
        text += &format!("; and {} more", series.len() - MOST_LISTED);
    }
    text
}

/// Whether slices of `other` could be slices of `series`: they lie on the same line with the same orientation, matrix and pixel spacing, none where one of the series
/// is, and in its gaps or onto its ends. Two scans of one head do so by chance only where they have slices at other heights; a series of another kernel, kind or with contrast
/// agent is another scan.
fn goes_on(series: &Series, other: &Series) -> bool {
    if series.kernel() != other.kernel()
        || series.is_original() != other.is_original()
        || series.contrast_agent().is_some() != other.contrast_agent().is_some()
        || !stacks::same_geometry(&series.slices[0], &other.slices[0])
    {
        return false;
    }
    let both: Vec<(&Identity, &Slice)> =
        [series, other].into_iter().flat_map(|series| series.slices.iter().map(move |slice| (&series.identity, slice))).collect();
    stacks::go_on(&both, series.slices.len())
}

#[cfg(test)]
mod tests {
    use super::super::slice::testing::slice;
    use super::*;

    /// Images of a series at these heights, in the folder `a`.
    fn images(uid: &str, heights: &[f64]) -> Vec<Image> {
        let image = |(n, &height): (usize, &f64)| Image {
            identity: Identity { series_uid: uid.into(), ..Identity::default() },
            slices: vec![slice(&format!("{uid}_{n}"), height)],
            notes: Vec::new(),
        };
        heights.iter().enumerate().map(image).collect()
    }

    fn unreadable(path: &str, uid: &str, error: DicomError) -> (PathBuf, Unreadable) {
        let file = Unreadable { study_uid: String::new(), series_uid: uid.into(), ..error.into() };
        (path.into(), file)
    }

    fn cut() -> DicomError {
        DicomError::Cut { what: "data set".into(), needed: 9, found: 3 }
    }

    fn study(others: &[(PathBuf, Unreadable)], broken: &[(PathBuf, Unreadable)]) -> Study {
        Study { images: images("1.2", &[0.0, 5.0, 10.0]), others: others.to_vec(), broken: broken.to_vec(), ..Study::default() }
    }

    #[test]
    fn a_few_files_that_cannot_be_read_may_be_of_the_series() {
        let doubts = |broken: &[(PathBuf, Unreadable)]| study(&[], broken).choose(Some("1.2")).unwrap().doubts.concat();
        let file = |n: usize| unreadable(&format!("a/x{n}"), "1.9", cut());
        let one = "1 file beside the series cannot be read, and may be of it: x1: ";
        let said = doubts(&[file(1)]);
        assert!(said.starts_with(one) && !said.ends_with("..."), "{said}");
        let said = doubts(&[file(1), file(2)]);
        assert!(said.starts_with("2 files beside the series cannot be read") && said.ends_with(", ..."), "{said}");
        // Three are a series of their own; so are those of a series with images, and those elsewhere.
        assert_eq!(doubts(&[file(1), file(2), file(3)]), "");
        assert_eq!(doubts(&[unreadable("b/x1", "1.9", cut())]), "");
        assert_eq!(doubts(&[unreadable("a/page", "1.9", DicomError::Missing("X".into()))]), "");
        let mut more = study(&[], &[file(1)]);
        more.images.extend(images("1.9", &[2.0, 7.0, 12.0]));
        assert!(!more.choose(Some("1.2")).unwrap().doubts.concat().contains("cannot be read"));
        // Of no known series it may be of any: an error unless the series was asked for.
        let unknown = [unreadable("a/x", "", cut())];
        assert!(doubts(&unknown).starts_with("1 file beside"));
        assert!(study(&[], &unknown).choose(None).is_err());
    }

    #[test]
    fn a_series_of_which_nothing_can_be_read_has_its_files_error() {
        let broken = [unreadable("b/y", "1.8", DicomError::NotDicom), unreadable("b/x", "1.9", cut())];
        let error = study(&[], &broken).choose(Some("1.9")).unwrap_err().to_string();
        assert!(error.starts_with("x: the file is cut"), "{error}");
        assert!(matches!(study(&[], &broken).choose(Some("1.7")), Err(DicomError::NoSuchSeries { .. })));
    }

    #[test]
    fn three_names_are_written_out() {
        let page = |n: usize| {
            let (path, file) = unreadable(&format!("a/page{n}"), "1.9", DicomError::Missing("X".into()));
            (path, Unreadable { without_place: true, original: false, ..file })
        };
        for (count, written) in [
            (1, "a page of text (page1)"),
            (3, "3 pages of text (page1, page2, page3)"),
            (4, "4 pages of text (page1, page2, page3, ...)"),
        ] {
            let pages: Vec<_> = (1..=count).map(page).collect();
            let choice = study(&[], &pages).choose(None).unwrap().choice;
            assert!(choice.ends_with(written), "{choice}");
            let short = (1..=count).map(|n| format!("a/s{n}").into()).collect();
            let doubts = Study { short, ..study(&[], &[]) }.choose(None).unwrap().doubts.concat();
            assert_eq!(doubts.ends_with(", ..."), count > 3, "{doubts}");
        }
    }

    #[test]
    fn files_are_counted_by_what_they_are_and_by_what_is_odd() {
        let report = |n: usize| unreadable(&format!("a/r{n}"), "1.9", DicomError::NotCt("a report".into()));
        let localizer = unreadable("a/l", "1.9", DicomError::Localizer { study: String::new() });
        let others = [report(1), report(2), localizer];
        let choice = study(&others, &[]).choose(None).unwrap().choice;
        assert!(choice.ends_with("what is no slice of a scan: 1 file is a localizer, 2 files are a report"), "{choice}");
        let mut noted = study(&[], &[]);
        noted.images[..2].iter_mut().for_each(|image| image.notes.push("odd".into()));
        noted.images[2].notes.push("odder".into());
        assert_eq!(noted.choose(None).unwrap().doubts, ["odd (2 files)", "odder (1 file)"]);
    }

    #[test]
    fn pages_belong_to_images_above_or_below_them() {
        let page = |folder: &str| Study {
            folder: folder.into(),
            broken: vec![unreadable(&format!("{folder}/page"), "1.9", DicomError::Missing("X".into()))],
            ..Study::default()
        };
        for (folder, left) in [("a", 1), ("a/b", 1), ("", 1), ("c", 2)] {
            let mut studies = vec![study(&[], &[]), page(folder)];
            pages_beside(&mut studies);
            assert_eq!((studies.len(), studies[0].others.len()), (left, 2 - left), "{folder}");
        }
    }

    #[test]
    fn a_study_is_ct_where_a_scan_should_be() {
        let report = unreadable("a/r", "", DicomError::NotCt("a report".into()));
        let localizer = unreadable("a/l", "", DicomError::Localizer { study: String::new() });
        let alone = |others: Vec<_>, broken: Vec<_>| Study { others, broken, ..Study::default() };
        assert!(study(&[], &[]).is_ct() && alone(vec![localizer], vec![]).is_ct());
        assert!(alone(vec![], vec![unreadable("a/x", "", cut())]).is_ct());
        assert!(!alone(vec![report], vec![]).is_ct());
        let remnant = |count: usize| Study { images: images("1.2", &[0.0, 5.0, 10.0][..count]), ..Study::default() }.is_remnant();
        assert_eq!([remnant(2), remnant(3)], [true, false]);
    }

    #[test]
    fn inspection_tells_tilt_and_gaps_and_why_a_series_is_not_used() {
        let mut all = study(&[], &[]);
        for (n, image) in all.images.iter_mut().enumerate() {
            image.slices[0].position = [10.0, 20.0 + n as f64, 30.0 + 5.0 * n as f64];
        }
        all.images.extend(images("1.9", &[0.0, 5.0]));
        let inspection = super::super::inspection::inspect(&all, None);
        let series = &inspection.series[0];
        assert!(series.used && (series.tilt_degrees - 11.3099).abs() < 1e-3, "{}", series.tilt_degrees);
        assert!(series.gap_mm.unwrap().iter().all(|gap| (gap - 5.0).abs() < 1e-9), "{:?}", series.gap_mm);
        assert_eq!(series.field_of_view_mm, [1.5, 1.0]);
        assert_eq!(series.length_mm, 15.0);
        assert!(inspection.series[1].reason.contains("fewer than 3 slices"), "{}", inspection.series[1].reason);
        let inspection = super::super::inspection::inspect(&all, Some("1.9.9"));
        assert!(inspection.series.iter().all(|series| !series.used && series.reason != "not asked for"));
        let inspection = super::super::inspection::inspect(&all, Some("1.2"));
        assert_eq!([&inspection.series[0].reason, &inspection.series[1].reason], ["asked for", "not asked for"]);
    }

    /// A CT file of 1 x 1 pixels at this height, or of another class, or, where it is `cut`, without its last element.
    fn file(class: &str, study: &str, series: &str, height: i32, cut: bool) -> Vec<u8> {
        let element = |group: u16, number: u16, vr: &str, value: &[u8]| {
            let mut value = value.to_vec();
            value.resize(value.len().next_multiple_of(2), if vr == "UI" { 0 } else { b' ' });
            let [group, number] = [group, number].map(u16::to_le_bytes);
            let long = if vr == "OW" { vec![0; 2] } else { Vec::new() };
            let length = (value.len() as u32).to_le_bytes();
            let length = if vr == "OW" { &length[..] } else { &length[..2] };
            [&group, &number, vr.as_bytes(), &long, length, &value].concat()
        };
        let instance = format!("{series}.{}", height + 1000);
        let mut bytes = [vec![0; 128], b"DICM".to_vec(), element(2, 0x10, "UI", b"1.2.840.10008.1.2.1")].concat();
        let texts: [(u16, u16, &str, &str); 9] = [
            (0x08, 0x16, "UI", class),
            (0x08, 0x18, "UI", &instance),
            (0x08, 0x60, "CS", "CT"),
            (0x20, 0x0D, "UI", study),
            (0x20, 0x0E, "UI", series),
            (0x20, 0x32, "DS", &format!("0\\0\\{height}")),
            (0x20, 0x37, "DS", "1\\0\\0\\0\\1\\0"),
            (0x28, 0x02, "US", "\x01\0"),
            (0x28, 0x04, "CS", "MONOCHROME2"),
        ];
        texts.iter().for_each(|(group, number, vr, value)| bytes.extend(element(*group, *number, vr, value.as_bytes())));
        for (number, value) in [(0x10, 1_u16), (0x11, 1)] {
            bytes.extend(element(0x28, number, "US", &value.to_le_bytes()));
        }
        bytes.extend(element(0x28, 0x30, "DS", b"0.5\\0.5"));
        for (number, value) in [(0x100, 16_u16), (0x101, 16), (0x102, 15), (0x103, 1)] {
            bytes.extend(element(0x28, number, "US", &value.to_le_bytes()));
        }
        bytes.extend(element(0x28, 0x1052, "DS", b"-1024"));
        bytes.extend(element(0x28, 0x1053, "DS", b"1"));
        let pixels = element(0x7FE0, 0x10, "OW", &[1, 4]);
        bytes.extend(if cut { &pixels[..pixels.len() - 1] } else { &pixels });
        bytes
    }

    const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
    const REPORT: &str = "1.2.840.10008.5.1.4.1.1.88.11";

    /// The files as they are written below a folder of their own, which is removed with what comes first.
    fn written(files: &[(&str, Vec<u8>)]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let write = |(name, bytes): &(&str, Vec<u8>)| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            path
        };
        let paths = files.iter().map(write).collect();
        (folder, paths)
    }

    /// Images, broken files, others and strays of each study.
    fn counts(studies: &[Study]) -> Vec<[usize; 4]> {
        studies.iter().map(|s| [s.images.len(), s.broken.len(), s.others.len(), s.astray.len()]).collect()
    }

    #[test]
    fn files_come_to_the_study_beside_whose_images_they_lie() {
        let image = |height| file(CT, "1.1", "1.2", height, false);
        let report = |series| file(REPORT, "1.1", series, 0, false);
        let cut = |study, series| file(CT, study, series, 0, true);
        let other = |height| file(CT, "9.1", "9.2", height, false);
        for (what, files, expected) in [
            ("images", vec![("a/1", image(0)), ("a/2", image(5))], vec![[2, 0, 0, 0]]),
            ("a cut image of the series", vec![("a/1", image(0)), ("a/2", cut("1.1", "1.2"))], vec![[1, 1, 0, 0]]),
            ("that names another study", vec![("a/1", image(0)), ("a/2", cut("9.1", "1.2"))], vec![[1, 1, 0, 0]]),
            ("and lies elsewhere", vec![("a/1", image(0)), ("b/2", cut("9.1", "1.2"))], vec![[1, 0, 0, 0], [0, 1, 0, 0]]),
            ("of another series", vec![("a/1", image(0)), ("a/2", cut("9.1", "9.2"))], vec![[1, 0, 0, 0], [0, 1, 0, 0]]),
            ("a report beside", vec![("a/1", image(0)), ("a/2", report("1.9"))], vec![[1, 0, 1, 0]]),
            ("elsewhere", vec![("a/1", image(0)), ("b/2", report("1.9"))], vec![[1, 0, 0, 0]]),
            ("of the series, elsewhere", vec![("a/1", image(0)), ("b/2", report("1.2"))], vec![[1, 0, 1, 0]]),
            ("of no series, elsewhere", vec![("a/1", image(0)), ("b/2", report(""))], vec![[1, 0, 0, 0]]),
            ("reports alone", vec![("a/1", report("1.2")), ("b/2", report("1.3"))], vec![[0, 0, 2, 0]]),
            ("no DICOM file", vec![("a/1", image(0)), ("a/2", b"a text".to_vec())], vec![[1, 0, 0, 0]]),
            ("two studies", vec![("a/1", image(0)), ("b/1", other(0))], vec![[1, 0, 0, 0]; 2]),
            (
                "an image that names another study",
                vec![("a/1", image(0)), ("a/2", file(CT, "9.1", "1.2", 5, false))],
                vec![[1, 0, 0, 1]; 2],
            ),
            ("below the first", vec![("a/1", image(0)), ("a/b/2", file(CT, "9.1", "1.2", 5, false))], vec![[1, 0, 0, 1]; 2]),
            ("elsewhere too", vec![("a/1", image(0)), ("b/2", file(CT, "9.1", "1.2", 5, false))], vec![[1, 0, 0, 0]; 2]),
        ] {
            let (_folder, paths) = written(&files);
            assert_eq!(counts(&find(&paths)), expected, "{what}");
        }
    }

    #[test]
    fn of_a_file_its_series_is_read_and_no_other_one() {
        let image = |series, height| file(CT, "1.1", series, height, false);
        let files = [
            ("a/1", image("1.2", 0)),
            ("a/2", image("1.2", 5)),
            ("a/3", image("1.3", 0)),
            ("a/4", file(CT, "1.1", "1.2", 9, true)),
            ("a/5", file(CT, "1.1", "1.3", 9, true)),
            ("a/6", file(CT, "1.1", "", 9, true)),
            ("a/7", file(REPORT, "1.1", "1.4", 9, false)),
            ("a/8", file(CT, "1.1", "1.2", 14, true)),
        ];
        let (_folder, paths) = written(&files);
        let of = |n: usize| counts(&[of_file(&paths[n])])[0];
        assert_eq!(of(0), [2, 3, 1, 0]);
        assert_eq!(of(2), [1, 2, 1, 0]);
        assert_eq!([of(3), of(6)], [[0, 1, 0, 0], [0, 0, 1, 0]]);
        // It has a place, though it has no functional groups.
        assert!(!of_file(&paths[3]).broken[0].1.without_place);
    }

    fn chosen(study: &Study) -> String {
        study.choose(Some("1.2")).unwrap().doubts.concat()
    }

    #[test]
    fn another_series_goes_on_where_nothing_but_its_place_differs() {
        let with = |change: fn(&mut Image)| {
            let mut study = study(&[], &[]);
            let mut rest = images("1.9", &[15.0, 20.0, 25.0]);
            rest.iter_mut().for_each(change);
            study.images.extend(rest);
            chosen(&study).contains("fits between or onto the slices of this one")
        };
        assert!(with(|_| ()));
        assert!(!with(|image| image.identity.kernel = vec!["BONE".into()]));
        assert!(!with(|image| image.identity.image_type = vec!["DERIVED".into(), "SECONDARY".into()]));
        assert!(!with(|image| image.identity.contrast_agent = "Iomeron".into()));
        assert!(!with(|image| image.slices[0].rows = 7));
        assert!(!with(|image| image.slices[0].position[2] += 1.0));
    }

    #[test]
    fn series_that_cannot_be_used_are_told_of_where_none_was_asked_for() {
        let said = |uid: &str, heights: &[f64]| {
            let mut study = study(&[], &[]);
            study.images.extend(images(uid, heights));
            study.choose(None).map_or_else(|error| error.to_string(), |series| series.doubts.concat())
        };
        assert_eq!(said("1.9", &[0.0, 0.0, 0.0]), "");
        assert!(!said("1.9", &[1.0, 3.0]).contains("cannot be used"));
    }

    #[test]
    fn a_contrast_agent_and_another_region_of_the_chosen_series_are_told() {
        let said = |change: fn(&mut Image)| {
            let mut study = study(&[], &[]);
            study.images.iter_mut().for_each(change);
            let chosen = study.choose(None).unwrap();
            (chosen.doubts.concat(), chosen.label())
        };
        let (doubts, label) = said(|image| image.identity.contrast_agent = "Iomeron".into());
        assert_eq!(doubts, "the series has contrast agent (ContrastBolusAgent \"Iomeron\"), which looks like blood");
        assert!(label.contains(", contrast agent, 3 slices"), "{label}");
        let (doubts, label) = said(|image| image.identity.body_part = "CHEST".into());
        assert_eq!(doubts, "the series is not that of a head (BodyPartExamined \"CHEST\")");
        assert!(label.starts_with("without a number (") && !label.contains("contrast"), "{label}");
        let (doubts, label) = said(|image| image.identity.description = "Head \"plain\"".into());
        assert!(doubts.is_empty() && label.starts_with("without a number \"Head "), "{label}");
    }

    #[test]
    fn six_parts_of_a_series_are_told_and_how_many_more_there_are() {
        let said = |parts: usize| {
            let mut study = study(&[], &[]);
            for n in 0..parts {
                let mut part = images("1.2", &[0.0]);
                part[0].slices[0].rows = 10 + n;
                study.images.extend(part);
            }
            let doubts = study.choose(Some("1.2")).unwrap().doubts;
            doubts.into_iter().filter(|doubt| doubt.contains(" more parts of the same series")).collect::<Vec<_>>().concat()
        };
        assert_eq!([said(1), said(6)], ["", ""]);
        assert_eq!(said(8), "2 more parts of the same series with 2 slices are left out");
    }

    #[test]
    fn no_patient_lies_a_kilometre_away() {
        for (height, expected) in [(1_000_000, [1, 0, 0, 0]), (1_000_001, [0, 1, 0, 0])] {
            let (_folder, paths) = written(&[("a/1", file(CT, "1.1", "1.2", height, false))]);
            assert_eq!(counts(&find(&paths)), [expected], "{height} mm");
        }
    }
}
