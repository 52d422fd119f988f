//! Whether the outputs of an earlier run are those that this run would make: then a scan is not done again.

use super::batch::{Extra, Settings};
use super::inputs::Job;
use super::report::Report;
use super::segment::{BrainSource, Interpolation};
use crate::weights::Weights;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What was chosen of all that changes an output, besides weights, threshold and post-processing, which a report tells elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choices {
    /// The file or folder that was read, from the root of the file system.
    pub input: String,
    /// How the brain was found: `skull`, `bet`, `skull-stripped`, or `mask` and the file's name.
    pub brain: String,
    /// Whether blood was sought outside the brain mask too.
    pub outside_brain: bool,
    /// How the scan was resampled into template space.
    pub interpolation: Interpolation,
    /// SHA-256 of the template's grid and voxels.
    pub template_sha256: String,
    /// The outputs besides mask, picture and report.
    pub saved: Vec<Extra>,
}

impl Choices {
    /// Those of a run, for one of its scans.
    pub fn of(job: &Job, settings: &Settings) -> Choices {
        let brain = match (&settings.brain_mask, &settings.options.brain) {
            (Some(file), _) => format!("mask {}", from_root(file)),
            (None, BrainSource::Extract(options)) => options.method.to_string(),
            (None, BrainSource::SkullStripped) => "skull-stripped".into(),
            (None, BrainSource::Mask(_)) => "mask in memory".into(),
        };
        Choices {
            input: from_root(&job.path),
            brain,
            outside_brain: settings.options.outside_brain,
            interpolation: settings.options.interpolation,
            template_sha256: settings.template.sha256(),
            saved: settings.extras.clone(),
        }
    }
}

/// What is there of a scan before it is done.
#[derive(Debug)]
pub enum Earlier {
    /// No report, or not all outputs that are asked for.
    Incomplete,
    /// All outputs, made of something else or otherwise than asked for now: these words say in which ways.
    Different(String),
    /// All outputs, as this run would make them.
    Same(Box<Report>),
}

/// What is there of a scan. `outputs` are the files that are asked for; the report was written behind them.
///
/// Where the network ran, and by which version of ichor, is not compared: the parts of a collection may run on different machines.
pub fn find(job: &Job, settings: &Settings, weights: &Weights, report: &Path, outputs: &[impl AsRef<Path>]) -> Earlier {
    let text = std::fs::read(report).ok();
    let Some(report) = text.and_then(|text| serde_json::from_slice::<Report>(&text).ok()) else { return Earlier::Incomplete };
    if !outputs.iter().all(|output| output.as_ref().is_file()) || (settings.pictures && report.picture.is_none()) {
        return Earlier::Incomplete;
    }
    let now = Choices::of(job, settings);
    let Some(made) = &report.choices else { return Earlier::Different("options that its report does not tell".into()) };
    // A file that is there and that the report does not list is of an earlier result.
    if !now.saved.iter().all(|extra| made.saved.contains(extra)) {
        return Earlier::Incomplete;
    }
    let different = differences(&report, made, &now, job, settings, weights);
    if different.is_empty() { Earlier::Same(Box::new(report)) } else { Earlier::Different(different.join(", ")) }
}

fn differences(
    report: &Report,
    made: &Choices,
    now: &Choices,
    job: &Job,
    settings: &Settings,
    weights: &Weights,
) -> Vec<&'static str> {
    let same = [
        // A DICOM series is known wherever it lies.
        ("another file", job.study.is_some() || made.input == now.input),
        ("another DICOM series, or other slices of it", same_series(report, job, settings)),
        ("other weights", report.weights.sha256 == weights.sha256()),
        ("another threshold", report.threshold == settings.options.threshold_for(weights)),
        ("other post-processing", report.postprocessing == settings.options.postprocessing),
        ("another brain mask or method", made.brain == now.brain),
        ("another --outside-brain", made.outside_brain == now.outside_brain),
        ("another interpolation", made.interpolation == now.interpolation),
        ("--keep-doubtful", !report.doubtful || settings.options.keep_doubtful),
        ("another template", made.template_sha256 == now.template_sha256),
    ];
    same.into_iter().filter(|(_, same)| !same).map(|(what, _)| what).collect()
}

/// Whether the report is of the series that would be used now. Slices that have come or gone make it another one.
fn same_series(report: &Report, job: &Job, settings: &Settings) -> bool {
    let chosen = job.study.as_ref().map(|study| study.choose(settings.series.as_deref()));
    match (chosen, &report.dicom) {
        (None, None) => true,
        (Some(Ok(series)), Some(made)) => {
            (&series.identity.series_uid, series.slices.len()) == (&made.series_instance_uid, made.slices)
        }
        _ => false,
    }
}

/// A path that means the same from every folder; as it is where it cannot be found.
fn from_root(path: &Path) -> String {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::segment::Options;
    use crate::pipeline::{Template, brain};
    use std::fs;
    use std::path::PathBuf;

    /// A scan whose report and mask are there, and the settings that made them.
    struct Done {
        folder: tempfile::TempDir,
        job: Job,
        settings: Settings,
    }

    impl Done {
        fn new() -> Done {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.nii");
            let job = Job { name: "a".into(), path, study: None };
            let settings = Settings {
                output: folder.path().into(),
                options: Options::default(),
                brain_mask: None,
                template: Template::load(None).unwrap(),
                extras: vec![Extra::Brain],
                pictures: false,
                dicom_report: false,
                series: None,
                overwrite: false,
                shard: None,
            };
            for file in ["a.nii", "b.nii", "a_ich.nii.gz"] {
                fs::write(folder.path().join(file), "").unwrap();
            }
            let done = Done { folder, job, settings };
            done.write(Some(Choices::of(&done.job, &done.settings)));
            done
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn write(&self, choices: Option<Choices>) {
            let report = Report { choices, ..Report::example("a") };
            fs::write(self.path("a_ich.json"), serde_json::to_vec(&report).unwrap()).unwrap();
        }

        fn found(&self, job: &Job, settings: &Settings, weights: &Weights) -> String {
            match find(job, settings, weights, &self.path("a_ich.json"), &[self.path("a_ich.nii.gz")]) {
                Earlier::Same(_) => "same".into(),
                Earlier::Incomplete => "incomplete".into(),
                Earlier::Different(how) => how,
            }
        }
    }

    #[test]
    fn each_option_that_changes_a_result_makes_it_another_one() {
        let done = Done::new();
        let weights = Weights::hand_set();
        let with = |change: &dyn Fn(&mut Settings)| {
            let mut settings = done.settings.clone();
            change(&mut settings);
            done.found(&done.job, &settings, &weights)
        };
        assert_eq!(with(&|_| {}), "same");
        // What does not change a result: fewer outputs, the part of the collection.
        assert_eq!(with(&|settings| settings.extras = Vec::new()), "same");
        assert_eq!(with(&|settings| settings.shard = Some("1/2".parse().unwrap())), "same");
        assert_eq!(with(&|settings| settings.options.threshold = Some(0.4)), "another threshold");
        assert_eq!(with(&|settings| settings.options.postprocessing.smooth_mm = Some(1.0)), "other post-processing");
        assert_eq!(with(&|settings| settings.options.outside_brain = true), "another --outside-brain");
        assert_eq!(with(&|settings| settings.options.interpolation = Interpolation::Nearest), "another interpolation");
        for brain in [BrainSource::SkullStripped, BrainSource::Extract(brain::Options { method: brain::Method::Bet })] {
            assert_eq!(with(&|settings| settings.options.brain = brain.clone()), "another brain mask or method");
        }
        assert_eq!(with(&|settings| settings.brain_mask = Some(done.path("b.nii"))), "another brain mask or method");
        let brighter = |settings: &mut Settings| {
            settings.template = Template::of("built-in", settings.template.volume.map(|hu| hu + 1.0));
        };
        assert_eq!(with(&brighter), "another template");
        assert_eq!(done.found(&done.job, &done.settings, &Weights::built_in()), "other weights");
        let other = Job { path: done.path("b.nii"), ..done.job.clone() };
        assert_eq!(done.found(&other, &done.settings, &weights), "another file", "of the same name, from another folder");
    }

    #[test]
    fn what_is_not_all_there_is_incomplete() {
        let done = Done::new();
        let weights = Weights::hand_set();
        // A file of this name may be there, but of an earlier result.
        let more = Settings { extras: vec![Extra::Brain, Extra::Probability], ..done.settings.clone() };
        assert_eq!(done.found(&done.job, &more, &weights), "incomplete");
        let picture = Settings { pictures: true, ..done.settings.clone() };
        assert_eq!(done.found(&done.job, &picture, &weights), "incomplete");
        done.write(None);
        assert_eq!(done.found(&done.job, &done.settings, &weights), "options that its report does not tell");
        fs::remove_file(done.path("a_ich.nii.gz")).unwrap();
        assert_eq!(done.found(&done.job, &done.settings, &weights), "incomplete");
    }
}
