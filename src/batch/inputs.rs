//! Which scans a list of files and folders means, what their outputs are called, and reading them.

use crate::batch::outputs;
use crate::batch::report::Source;
use crate::io::dicom::{self, DicomError, Study};
use crate::io::nifti;
use crate::scan::warnings::Warning;
use crate::volume::Volume;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// A scan to be done.
#[derive(Clone, Debug)]
pub struct Job {
    /// What its outputs' names begin with; no two jobs have the same.
    pub name: String,
    /// The file, or the folder of a DICOM study.
    pub path: PathBuf,
    /// The study, for DICOM; else the file is NIfTI.
    pub study: Option<Arc<Study>>,
    /// What it is, where it was read from no file.
    pub memory: Option<Source>,
}

/// A scan that was read.
#[derive(Clone, Debug)]
pub struct Scan {
    /// HU.
    pub volume: Volume<f32>,
    /// The header for outputs on its grid.
    pub header: nifti::Header,
    /// What is odd about the file or the series.
    pub warnings: Vec<Warning>,
    /// The DICOM series that it was, with what was corrected, for outputs on its slices.
    pub series: Option<dicom::Converted>,
}

/// One of several parts of a list of jobs, for a job array: part `number` (from 1) of `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    number: usize,
    of: usize,
}

impl Shard {
    /// Every job of the list whose place, divided by the number of parts, leaves this part's rest. Parts of the same list have no job in common
    /// and hold all of them together; their sizes differ by at most one.
    pub fn jobs(self, jobs: Vec<Job>) -> Vec<Job> {
        jobs.into_iter().skip(self.number - 1).step_by(self.of).collect()
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parts = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((number, of)) if 1 <= number && number <= of => Ok(Shard { number, of }),
            _ => Err("a part and the number of parts are needed, as in 2/8 (the second of eight)".into()),
        }
    }
}

/// Folders below an input folder are searched to this depth.
const DEEPEST: usize = 64;

/// The scans that `inputs` mean, in the order of the inputs, those of a folder by name. A folder stands for the NIfTI files and the DICOM studies in it and in the
/// folders below it; DICOM is told from the content. A file that is named itself is a scan whatever its name is, so that its failure is told; a DICOM file stands
/// for its series.
///
/// Links are followed, but not into a folder that is searched anyway, nor into one that holds the input folder; a scan
/// that is reached in several ways is one.
///
/// Names come from file names, those of DICOM studies from the folder that holds all their files; those in folders below an input folder begin with the folders'
/// names, joined by `_`.
///
/// # Errors
/// [`Error::Read`] for a folder that cannot be read, [`Error::Scan`] for one without a NIfTI or DICOM file and for two scans whose outputs would
/// have the same name.
pub fn find(inputs: &[PathBuf]) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for input in inputs {
        if input.is_dir() {
            let before = jobs.len();
            let mut found = Search::of(input)?;
            jobs.append(&mut found.jobs);
            add_studies(input, &found.rest, before, &mut jobs);
            if jobs.len() == before {
                let problem =
                    "the folder holds no NIfTI file (.nii, .nii.gz, .hdr) and no DICOM file; give files or a folder of them"
                        .into();
                return Err(Error::Scan { path: input.clone(), problem });
            }
        } else {
            jobs.push(single(input));
        }
    }
    let mut once = BTreeSet::new();
    jobs.retain(|job| once.insert(place(job)));
    let mut seen: BTreeMap<&str, &Path> = BTreeMap::new();
    for job in &jobs {
        if let Some(other) = seen.insert(&job.name, &job.path) {
            let problem = format!(
                "its outputs would have the same name as those of {}: give them one by one, into two output folders (-o) \
                 or one of them with another name (--name), or rename one",
                other.display()
            );
            return Err(Error::Scan { path: job.path.clone(), problem });
        }
    }
    Ok(jobs)
}

/// The files that jobs read, by their names without links. Of DICOM studies only images are: what else lies with them
/// may be results of an earlier run.
pub fn files(jobs: &[Job]) -> BTreeSet<PathBuf> {
    let of = |job: &Job| match &job.study {
        None if job.memory.is_some() => Vec::new(),
        None => nifti::files(&job.path),
        Some(study) => study.images.iter().flat_map(|image| &image.slices).map(|slice| slice.path.clone()).collect(),
    };
    jobs.iter().flat_map(of).map(|path| absolute(&path)).collect()
}

/// What lies in a folder, or beside a file.
#[derive(Debug)]
pub struct Found {
    /// The DICOM studies.
    pub studies: Vec<Study>,
    /// Number of NIfTI files.
    pub nifti: usize,
    /// Number of files that are neither.
    pub foreign: usize,
}

/// Looks at the files of a folder and of the folders below it; at a file's series where `input` is a file.
///
/// # Errors
/// [`Error::Read`].
pub fn look(input: &Path) -> Result<Found> {
    if !input.is_dir() {
        dicom::is_dicom(input).map_err(|source| Error::Dicom { path: input.to_path_buf(), source })?;
        return Ok(Found { studies: vec![dicom::study::of_file(input)], nifti: 0, foreign: 0 });
    }
    let Search { jobs, rest, .. } = Search::of(input)?;
    let studies = dicom::study::find(&rest);
    let mut known: BTreeSet<&Path> = BTreeSet::new();
    for study in &studies {
        known.extend(study.images.iter().flat_map(|image| &image.slices).map(|slice| slice.path.as_path()));
        known.extend(study.broken.iter().chain(&study.others).map(|(path, _)| path.as_path()));
        known.extend(study.short.iter().map(PathBuf::as_path));
    }
    let foreign = rest.iter().filter(|path| !known.contains(path.as_path())).count();
    Ok(Found { studies, nifti: jobs.len(), foreign })
}

/// What no two scans have in common: the file; of a study the first of its files and their number, for a file stands
/// for one series of those that its study may have.
fn place(job: &Job) -> (PathBuf, usize) {
    let Some(study) = &job.study else { return (absolute(&job.path), 1) };
    let images = study.images.iter().flat_map(|image| &image.slices).map(|slice| &slice.path);
    let unused = study.broken.iter().chain(&study.others).map(|(path, _)| path);
    let first = images.min().or_else(|| unused.min());
    (absolute(first.unwrap_or(&job.path)), study.images.len())
}

/// The scan that a file stands for.
fn single(input: &Path) -> Job {
    let name = |path: &Path| path.file_name().map_or_else(|| "scan".into(), |name| name.to_string_lossy().into_owned());
    let own = name(input);
    if !dicom::is_dicom(input).unwrap_or(false) {
        return Job { name: stem(&own).unwrap_or(&own).to_string(), path: input.to_path_buf(), study: None, memory: None };
    }
    let study = dicom::study::of_file(input);
    let name = match &study.images[..] {
        [_, _, ..] => name(&absolute(&study.folder)),
        _ => own.strip_suffix(".dcm").unwrap_or(&own).to_string(),
    };
    Job { name, path: input.to_path_buf(), study: Some(Arc::new(study)), memory: None }
}

/// Adds a job for each DICOM study among the files below `root`. Files that are DICOM but no CT are no job where there is one since `before`; a localizer alone is one, whose failure is told.
fn add_studies(root: &Path, files: &[PathBuf], before: usize, jobs: &mut Vec<Job>) {
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let studies = dicom::study::find(files);
    // Pages of text that lie beside a scan are none of their own.
    let scans = studies.iter().any(|study| study.is_ct() && !study.is_remnant());
    for study in studies {
        if (!study.is_ct() && jobs.len() > before) || (study.is_page() && scans) {
            continue;
        }
        let below = study.folder.strip_prefix(root).unwrap_or(&study.folder);
        let mut name = below.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("_");
        if name.is_empty() {
            name = absolute(root).file_name().map_or_else(|| "scan".into(), |name| name.to_string_lossy().into_owned());
        }
        // Several studies may lie in one folder.
        let count = names.entry(name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            name = format!("{name}_{count}");
        }
        jobs.push(Job { name, path: study.folder.clone(), study: Some(Arc::new(study)), memory: None });
    }
}

/// A path with its name, where it can be found out: `.` has none.
pub(super) fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

/// Reads a scan. `series`: UID or number of the DICOM series to use; by the rules of [`Study::choose`] if `None`.
///
/// # Errors
/// As [`nifti::read`]; [`Error::Dicom`].
pub fn read(job: &Job, series: Option<&str>) -> Result<Scan> {
    let Some(study) = &job.study else {
        let nifti::Scan { volume, header, warnings, .. } = nifti::read(&job.path)?;
        let warnings = warnings.iter().map(|warning| Warning::Header { reason: warning.to_string() }).collect();
        return Ok(Scan { volume, header, warnings, series: None });
    };
    let failed = |source| Error::Dicom { path: job.path.clone(), source };
    let (volume, converted) = dicom::convert(study.choose(series).map_err(failed)?).map_err(failed)?;
    let header = nifti::Header::for_scanner(volume.grid())?;
    let warnings = converted.series.doubts.iter().map(|doubt| Warning::Series { reason: doubt.clone() }).collect();
    Ok(Scan { volume, header, warnings, series: Some(converted) })
}

/// Reads the only scan that a file or folder stands for.
///
/// # Errors
/// As [`find`] and [`read`]; [`Error::Dicom`] where a folder holds several studies of which no series is chosen, [`Error::Scan`] where it holds several NIfTI files.
pub fn read_one(input: &Path, series: Option<&str>) -> Result<Scan> {
    Only::of(input, series)?.read(series)
}

/// The only scan that a file or folder stands for, and what lies beside it.
pub(crate) struct Only {
    pub job: Job,
    /// Files that cannot be read, in folders of their own.
    unread: Vec<Job>,
    /// Single images of other studies.
    remnants: Vec<Job>,
}

impl Only {
    /// # Errors
    /// As [`read_one`].
    pub(crate) fn of(input: &Path, series: Option<&str>) -> Result<Only> {
        let mut jobs = find(&[input.to_path_buf()])?;
        if let (Some(wanted), true) = (series, jobs.len() > 1) {
            let has = |job: &Job| job.study.as_deref().is_some_and(|study| study.series().iter().any(|series| series.is(wanted)));
            if jobs.iter().any(has) {
                jobs.retain(has);
            }
        }
        // The only scan of a folder may lie beside localizers, pages of text and single images of other studies, and
        // beside files that cannot be read: these are told of where a scan can be.
        let mut apart = |is: &dyn Fn(&Study) -> bool| -> Vec<Job> {
            let is = |job: &Job| job.study.as_deref().is_some_and(is);
            if jobs.iter().all(is) { Vec::new() } else { jobs.extract_if(.., |job| is(job)).collect() }
        };
        let remnants = apart(&Study::is_remnant);
        let unread = apart(&|study| study.images.is_empty());
        if jobs.len() == 1 {
            return Ok(Only { job: jobs.remove(0), unread, remnants });
        }
        if jobs.iter().all(|job| job.study.is_some()) {
            let studies = jobs.iter().filter_map(|job| job.study.as_ref());
            let labels = studies.flat_map(|study| study.series()).map(|series| series.label());
            let found = labels.collect::<Vec<_>>().join("; ");
            let source = DicomError::SeveralStudies { count: jobs.len(), found };
            return Err(Error::Dicom { path: input.to_path_buf(), source });
        }
        let problem = format!("the folder holds {} scans: give one of them", jobs.len());
        Err(Error::Scan { path: input.to_path_buf(), problem })
    }

    /// Reads it.
    ///
    /// # Errors
    /// As [`read`].
    pub fn read(&self, series: Option<&str>) -> Result<Scan> {
        let mut scan = read(&self.job, series)?;
        let unread = self.unread.iter().filter_map(|job| job.study.as_deref());
        for (path, unreadable) in unread.flat_map(|study| &study.broken) {
            let reason = format!("a file beside the scan cannot be read: {}: {}", path.display(), unreadable.error);
            scan.warnings.push(Warning::Series { reason });
        }
        for study in self.remnants.iter().filter_map(|job| job.study.as_deref()) {
            let Some(series) = scan.series.as_mut().map(|converted| &mut converted.series) else { break };
            match study.beside(series) {
                Some((text, true)) => scan.warnings.push(Warning::Series { reason: format!("left out: {text}") }),
                Some((text, false)) => series.leaves_out(&text),
                None => {}
            }
        }
        Ok(scan)
    }
}

/// The files below a folder.
struct Search {
    /// The folder, as it is named without links.
    root: PathBuf,
    /// The NIfTI files.
    jobs: Vec<Job>,
    /// All other files.
    rest: Vec<PathBuf>,
    /// Folders and files that were found, as they are named without links.
    visited: BTreeSet<PathBuf>,
    /// Links to folders, with the beginning of the names of what is in them: followed when all that lies in the folder
    /// itself is found.
    links: VecDeque<(PathBuf, String)>,
}

impl Search {
    fn of(folder: &Path) -> Result<Search> {
        let root = folder.canonicalize().map_err(Error::read(folder))?;
        let (jobs, rest, visited, links) = Default::default();
        let mut search = Search { root: root.clone(), jobs, rest, visited, links };
        search.folder(folder, root, "", DEEPEST)?;
        while let Some((link, prefix)) = search.links.pop_front() {
            // A link that leads nowhere, or in a circle, holds no scan.
            let Ok(target) = link.canonicalize() else { continue };
            if search.root.starts_with(&target) {
                log::info!("{}: a link to a folder that holds the input folder is not followed", link.display());
            } else {
                search.folder(&link, target, &prefix, DEEPEST)?;
            }
        }
        // What was found by links stands where its name does.
        search.rest.sort();
        search.jobs.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(search)
    }

    /// Searches a folder, whose name without links is `own`.
    fn folder(&mut self, folder: &Path, own: PathBuf, prefix: &str, depth: usize) -> Result<()> {
        if !self.visited.insert(own.clone()) {
            return Ok(());
        }
        let mut entries = fs::read_dir(folder)
            .map_err(Error::read(folder))?
            .map(|entry| {
                let entry = entry.map_err(Error::read(folder))?;
                let is_link = entry.file_type().map_err(Error::read(folder))?.is_symlink();
                // A file itself is found before links to it.
                Ok((is_link, entry.path()))
            })
            .collect::<Result<Vec<(bool, PathBuf)>>>()?;
        entries.sort();
        for (is_link, path) in entries {
            let file_name = path.file_name().unwrap_or_default();
            let name = file_name.to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let below = || format!("{prefix}{name}_");
            if path.is_dir() {
                match (is_link, depth) {
                    (true, _) => self.links.push_back((path.clone(), below())),
                    (false, 0) => log::warn!("{}: folders are searched {DEEPEST} deep, not this one", path.display()),
                    (false, _) => self.folder(&path, own.join(file_name), &below(), depth - 1)?,
                }
                continue;
            }
            let own = if is_link { absolute(&path) } else { own.join(file_name) };
            if let Some(stem) = stem(&name) {
                if !is_output(folder, &name, stem) && self.visited.insert(own) {
                    self.jobs.push(Job { name: format!("{prefix}{stem}"), path, study: None, memory: None });
                }
            } else if path.is_file() && self.visited.insert(own) {
                self.rest.push(path);
            }
        }
        Ok(())
    }
}

/// The name of a NIfTI file without its ending; `None` for other files (the .img of a pair among them: its .hdr stands for both).
pub fn stem(name: &str) -> Option<&str> {
    let lower = name.to_ascii_lowercase();
    [".nii.gz", ".nii", ".hdr.gz", ".hdr"]
        .iter()
        .find(|ending| lower.ends_with(*ending))
        .map(|ending| &name[..name.len() - ending.len()])
}

/// Whether a file is an output of an earlier run: it is called so, and the report of its scan lists it. Or the label of a
/// phantom that lies beside it.
fn is_output(folder: &Path, name: &str, stem: &str) -> bool {
    if let Some(phantom) = stem.strip_suffix("_label")
        && folder.join(format!("{phantom}.nii.gz")).is_file()
    {
        return true;
    }
    ["_template_ich", "_template", "_probability", "_brain", "_ich"]
        .iter()
        .filter_map(|ending| stem.strip_suffix(ending))
        .any(|scan| outputs::holds(folder, scan, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(jobs: &[Job]) -> Vec<&str> {
        jobs.iter().map(|job| job.name.as_str()).collect()
    }

    #[test]
    fn the_label_of_a_phantom_is_no_scan() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["phantom_1.nii.gz", "phantom_1_label.nii.gz", "alone_label.nii.gz"] {
            fs::write(folder.path().join(file), b"").unwrap();
        }
        assert_eq!(names(&find(&[folder.path().to_path_buf()]).unwrap()), ["alone_label", "phantom_1"]);
    }

    #[test]
    fn folders_stand_for_their_nifti_files() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("p2/day1")).unwrap();
        for file in ["b.nii", "a.NII.GZ", "pair.hdr", "pair.img", "notes.txt", ".hidden.nii", "p2/day1/scan.nii.gz"] {
            fs::write(root.join(file), b"").unwrap();
        }
        let jobs = find(&[root.to_path_buf()]).unwrap();
        assert_eq!(names(&jobs), ["a", "b", "p2_day1_scan", "pair"]);
        // A file named itself is a scan whatever it is called; the same file twice is one scan.
        let text = root.join("notes.txt");
        let jobs = find(&[text.clone(), root.join("b.nii"), text]).unwrap();
        assert_eq!(names(&jobs), ["notes.txt", "b"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_once_and_never_upwards() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("scans");
        fs::create_dir_all(root.join("p1/day1")).unwrap();
        fs::create_dir_all(root.join("z")).unwrap();
        fs::create_dir_all(folder.path().join("archive/p9")).unwrap();
        for file in ["scans/a.nii", "scans/p1/day1/b.nii", "scans/z/c.nii", "archive/p9/d.nii", "outside.nii"] {
            fs::write(folder.path().join(file), file).unwrap();
        }
        for (target, link) in [
            ("..", "p1/parent"),
            (".", "self"),
            ("../..", "p1/grandparent"),
            ("z", "a_link_to_z"),
            ("p1/day1/b.nii", "0_link_to_b.nii"),
            ("../archive", "archive"),
            ("../archive/p9", "again"),
            ("gone", "broken"),
            ("circle", "circle"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let jobs = find(std::slice::from_ref(&root)).unwrap();
        // Each file once, under its own name where it lies in the folder; `again` comes before `archive`.
        assert_eq!(names(&jobs), ["a", "again_d", "p1_day1_b", "z_c"]);
        // In two ways by two inputs.
        let jobs = find(&[root.clone(), root.join("z"), root.join("p1/parent/a.nii"), root.join("a.nii")]).unwrap();
        assert_eq!(names(&jobs), ["a", "again_d", "p1_day1_b", "z_c"]);
        // A link that is given itself is followed.
        assert_eq!(names(&find(&[root.join("archive")]).unwrap()), ["p9_d"]);
    }

    #[test]
    fn outputs_of_an_earlier_run_are_no_scans() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["a.nii.gz", "a_ich.nii.gz", "a_ich.json", "a_template_ich.nii.gz", "b_brain.nii.gz"] {
            fs::write(folder.path().join(file), b"").unwrap();
        }
        assert_eq!(names(&find(&[folder.path().to_path_buf()]).unwrap()), ["a", "b_brain"]);
    }

    #[test]
    fn parts_have_no_job_in_common_and_hold_all_of_them() {
        let jobs: Vec<Job> =
            (0..11).map(|n| Job { name: n.to_string(), path: format!("{n}.nii").into(), study: None, memory: None }).collect();
        let part = |text: &str| text.parse::<Shard>().unwrap().jobs(jobs.clone());
        assert_eq!(names(&part("2/4")), ["1", "5", "9"]);
        let mut all: Vec<Job> = ["1/4", "2/4", "3/4", "4/4"].into_iter().flat_map(part).collect();
        all.sort_by_key(|job| job.name.parse::<usize>().unwrap());
        assert_eq!(names(&all), names(&jobs));
        assert!(part("12/12").is_empty(), "more parts than jobs");
        for wrong in ["0/4", "5/4", "4", "a/b", "1/0", "-1/4", "1/4/2"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let empty = find(&[folder.path().to_path_buf()]).unwrap_err().to_string();
        assert!(empty.contains("no NIfTI file"), "{empty}");
        fs::write(folder.path().join("a.nii"), b"").unwrap();
        fs::write(folder.path().join("a.nii.gz"), b"").unwrap();
        let twice = find(&[folder.path().to_path_buf()]).unwrap_err().to_string();
        assert!(twice.contains("same name"), "{twice}");
    }
}
