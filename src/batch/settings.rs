//! How many scans are done, and what the files of their results are called.

use crate::batch::inputs::{self, Job};
use crate::batch::report::{self, Extra};
use crate::batch::table;
use crate::scan::Template;
use crate::scan::segment::Options;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// How a batch is done.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of all outputs.
    pub output: PathBuf,
    /// How each scan is segmented.
    pub options: Options,
    /// A brain mask in a file, in place of `options.brain`.
    pub brain_mask: Option<PathBuf>,
    /// What scans are registered to.
    pub template: Template,
    /// Outputs besides mask and report.
    pub extras: Vec<Extra>,
    /// Whether each scan gets a picture.
    pub pictures: bool,
    /// Whether each DICOM scan gets a structured report too.
    pub dicom_report: bool,
    /// UID or number of the DICOM series to use, in place of the one that the rules choose.
    pub series: Option<String>,
    /// What is read, by the names without links: it is neither replaced nor removed.
    pub inputs: BTreeSet<PathBuf>,
    /// Whether scans are done again whose outputs are there and would come out the same, and files replaced that are
    /// called like an output: those of other scans, and what ichor did not write.
    pub overwrite: bool,
}

impl Settings {
    pub(super) fn file(&self, name: &str, ending: &str) -> PathBuf {
        self.output.join(format!("{name}_{ending}"))
    }

    /// ichor.csv
    pub fn table(&self) -> PathBuf {
        self.output.join(table::NAME)
    }

    pub(super) fn mask(&self, name: &str) -> PathBuf {
        self.file(name, "ich.nii.gz")
    }

    pub(super) fn report(&self, name: &str) -> PathBuf {
        self.output.join(format!("{name}{}", report::ENDING))
    }

    pub(super) fn picture(&self, name: &str) -> PathBuf {
        self.file(name, "ich.png")
    }

    pub(super) fn segmentation(&self, name: &str) -> PathBuf {
        self.file(name, "ich.dcm")
    }

    pub(super) fn structured_report(&self, name: &str) -> PathBuf {
        self.file(name, "ich_sr.dcm")
    }

    pub(super) fn extra(&self, name: &str, extra: Extra) -> Vec<PathBuf> {
        extra.endings().iter().map(|ending| self.file(name, ending)).collect()
    }

    /// Every file that a run may have written for a scan, the report first.
    pub(super) fn all(&self, name: &str) -> Vec<PathBuf> {
        let extras = Extra::ALL.into_iter().flat_map(|extra| self.extra(name, extra));
        let rest = [self.mask(name), self.picture(name), self.segmentation(name), self.structured_report(name)];
        [self.report(name)].into_iter().chain(rest).chain(extras).collect()
    }

    /// The files that this run writes for a scan, without its report.
    pub(super) fn written(&self, job: &Job) -> Vec<PathBuf> {
        let name = &job.name;
        let extras = self.extras.iter().flat_map(|&extra| self.extra(name, extra));
        let picture = self.pictures.then(|| self.picture(name));
        let segmentation = job.study.is_some().then(|| self.segmentation(name));
        let structured_report = (job.study.is_some() && self.dicom_report).then(|| self.structured_report(name));
        extras.chain([self.mask(name)]).chain(picture).chain(segmentation).chain(structured_report).collect()
    }

    /// Whether a file is one of those that are read.
    pub(super) fn reads(&self, path: &Path) -> bool {
        self.inputs.contains(&inputs::absolute(path))
    }
}
