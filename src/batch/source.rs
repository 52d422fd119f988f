//! Whose results they are: what a scan was read from, so that another scan of the same name is told from it.

use crate::batch::inputs::Job;
use crate::batch::report::Source;
use crate::io::dicom::Series;
use crate::io::nifti;
use crate::scan::template_file;
use crate::volume::Volume;
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The files of a scan, before they are read.
pub(crate) struct Files {
    paths: Vec<PathBuf>,
    patient: Option<String>,
    patient_id: Option<String>,
    state: String,
}

impl Files {
    /// Those of a job; of a DICOM study those of the series that is used.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(crate) fn of(job: &Job, series: Option<&Series>) -> Result<Files> {
        if let Some(source) = &job.memory {
            return Ok(Files { paths: Vec::new(), patient: None, patient_id: None, state: source.state.clone() });
        }
        let eight = |text: &str| hex(&Sha256::digest(text))[..8].to_string();
        let (paths, patient, patient_id) = match series {
            Some(series) => {
                let mut paths: Vec<PathBuf> = series.slices.iter().map(|slice| slice.path.clone()).collect();
                paths.sort();
                paths.dedup();
                let identity = &series.identity;
                let patient = eight(&format!("{}\0{}", identity.study_uid, identity.patient_id));
                let id = identity.patient_id.trim();
                (paths, Some(patient), (!id.is_empty()).then(|| eight(id)))
            }
            None => (nifti::files(&job.path), None, None),
        };
        let state = state(&paths)?;
        Ok(Files { paths, patient, patient_id, state })
    }

    /// What is in them.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Scan`] where they have changed since.
    pub(crate) fn source(self) -> Result<Source> {
        let sha256 = contents(&self.paths)?;
        if state(&self.paths)? != self.state {
            let problem = "it changed while it was read: run the command again when it is complete".into();
            return Err(Error::Scan { path: self.paths[0].clone(), problem });
        }
        Ok(Source { state: self.state, sha256, patient: self.patient, patient_id: self.patient_id })
    }
}

impl Source {
    /// Of a volume in memory: its grid and voxels.
    pub(crate) fn of_volume(volume: &Volume<f32>) -> Source {
        let sha256 = template_file::sha256(volume);
        Source { state: sha256.clone(), sha256, patient: None, patient_id: None }
    }

    /// Whether the files are those of this source: the same that were read, or others with the same contents.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(super) fn is_of(&self, files: &Files) -> Result<bool> {
        Ok(self.state == files.state || self.sha256 == contents(&files.paths)?)
    }

    /// Whether the files are of the same patient and study.
    pub(super) fn is_same_patient(&self, files: &Files) -> bool {
        self.patient.is_some() && self.patient == files.patient
    }
}

/// A path that means the same from every folder; as it is where its folder cannot be found.
pub(super) fn from_root(path: &Path) -> String {
    let found = path.canonicalize().or_else(|_| {
        // A file that has gone: its folder may be there.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        folder.canonicalize().map(|folder| folder.join(path.file_name().unwrap_or_default()))
    });
    found.unwrap_or_else(|_| path.to_path_buf()).to_string_lossy().into_owned()
}

fn state(paths: &[PathBuf]) -> Result<String> {
    let mut sum = Sha256::new();
    for path in paths {
        let metadata = fs::metadata(path).map_err(Error::read(path))?;
        let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        sum.update(format!("{}\0{} {}\n", from_root(path), metadata.len(), changed.as_nanos()));
    }
    Ok(hex(&sum.finalize()))
}

fn contents(paths: &[PathBuf]) -> Result<String> {
    let mut sums = paths.iter().map(|path| sha256(path)).collect::<Result<Vec<String>>>()?;
    if let [only] = &sums[..] {
        return Ok(only.clone());
    }
    sums.sort();
    Ok(hex(&Sha256::digest(sums.concat())))
}

/// SHA-256 of a file's content, in hex.
///
/// # Errors
/// [`Error::Read`].
pub(super) fn sha256(path: &Path) -> Result<String> {
    let sum = || {
        let mut file = File::open(path)?;
        let mut sum = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        // A pipe has been read already, and would never end.
        let mut more = file.metadata()?.is_file();
        while more {
            match file.read(&mut buffer) {
                Ok(0) => more = false,
                Ok(read) => sum.update(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(hex(&sum.finalize()))
    };
    sum().map_err(Error::read(path))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_the_contents_wherever_they_lie() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, text) in [("a.hdr", "abc"), ("a.img", "x"), ("b.img", "abc"), ("c.nii", "abc"), ("d.nii", "abd")] {
            fs::write(path(name), text).unwrap();
        }
        // FIPS 180-4's example.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(contents(&[path("c.nii")]).unwrap(), abc);
        let pair = contents(&[path("a.hdr"), path("a.img")]).unwrap();
        assert_eq!(contents(&[path("a.img"), path("b.img")]).unwrap(), pair, "names and order do not count");
        assert_ne!(pair, abc);
        let job = |name: &str| Job { name: "a".into(), path: path(name), study: None, memory: None };
        let files = |name: &str| Files::of(&job(name), None).unwrap();
        let source = files("c.nii").source().unwrap();
        assert!(source.is_of(&files("c.nii")).unwrap());
        assert!(!source.is_of(&files("d.nii")).unwrap());
        fs::write(path("e.nii"), "abc").unwrap();
        assert!(source.is_of(&files("e.nii")).unwrap(), "moved");
        // The pair is header and image.
        assert_eq!(files("a.hdr").paths, [path("a.hdr"), path("a.img")]);
        assert!(Files::of(&job("missing.nii"), None).is_err());
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nii");
        fs::write(&path, "one").unwrap();
        let files = Files::of(&Job { name: "a".into(), path: path.clone(), study: None, memory: None }, None).unwrap();
        fs::write(&path, "one and more").unwrap();
        let error = files.source().unwrap_err().to_string();
        assert!(error.contains("a.nii: it changed while it was read"), "{error}");
    }
}
