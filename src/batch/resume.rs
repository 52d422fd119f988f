//! Whether the outputs of an earlier run are those that this run would make: then a scan is not done again.

use super::inputs::Job;
use super::outputs;
use super::report::{Choices, Report, WeightsIdentity};
use super::settings::Settings;
use super::source::{Files, from_root, sha256};
use crate::network::weights::Weights;
use crate::scan::pitchperfect;
use crate::scan::second_opinion::Method;
use crate::scan::segment::BrainSource;
use std::io::ErrorKind;
use std::path::Path;

impl Choices {
    /// Those of a run, for one of its scans.
    pub fn of(job: &Job, settings: &Settings) -> Choices {
        let brain = match (&settings.brain_mask, &settings.options.brain) {
            (Some(file), _) => format!("mask {} {}", from_root(file), sha256(file).unwrap_or_default()),
            (None, BrainSource::Extract(options)) => options.method.to_string(),
            (None, BrainSource::SkullStripped) => "skull-stripped".into(),
            (None, BrainSource::Mask(_)) => "mask in memory".into(),
        };
        Choices {
            input: from_root(&job.path),
            brain,
            method: settings.options.method,
            second_opinion_sha256: (settings.options.method == Method::Network && settings.options.second_opinion)
                .then(|| pitchperfect::sha256(settings.options.normals.as_deref())),
            drop_unseen: settings.options.drop_unseen,
            outside_brain: settings.options.outside_brain,
            interpolation: settings.options.interpolation,
            template_sha256: settings.template.sha256(),
            saved: settings.extras.clone(),
        }
    }
}

/// What is there under a scan's name before it is done.
#[derive(Debug)]
pub enum Earlier {
    /// The results of another scan, which was read from this file or folder.
    Another(String),
    /// No report, or not all outputs that are asked for.
    Incomplete,
    /// All outputs, made of something else or otherwise than asked for now: these words say in which ways.
    Different(String),
    /// All outputs, as this run would make them.
    Same(Box<Report>),
}

/// What is there of a scan. `files` are the outputs that are asked for; the report was written behind them.
///
/// Where the network ran, and by which version of ichor, is not compared: the parts of a collection may run on different machines.
pub fn find(job: &Job, settings: &Settings, weights: &Weights, report: &Path, files: &[impl AsRef<Path>]) -> Earlier {
    let text = match std::fs::read(report) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Earlier::Incomplete,
        Err(error) => return Earlier::Another(format!("an unknown file ({}: {error})", report.display())),
    };
    let report = match serde_json::from_slice::<Report>(&text) {
        Ok(report) => report,
        Err(error) => return Earlier::Another(format!("an unknown file ({} is no report: {error})", report.display())),
    };
    let contents = match whose(&report, job, settings) {
        Whose::Other => {
            let input = report.choices.map_or(report.input, |choices| choices.input);
            return Earlier::Another(input);
        }
        // It will be told why.
        Whose::This { contents: Contents::Unreadable } => return Earlier::Incomplete,
        Whose::This { contents } => contents,
    };
    if !files.iter().all(|output| output.as_ref().is_file()) || (settings.pictures && report.picture.is_none()) {
        return Earlier::Incomplete;
    }
    let now = Choices::of(job, settings);
    let Some(made) = &report.choices else { return Earlier::Different("options that its report does not tell".into()) };
    // A file that is there and that the report does not list is of an earlier result, or somebody else's.
    let listed = outputs::listed(&report, &job.name);
    let is_listed = |output: &Path| output.file_name().is_some_and(|name| listed.iter().any(|own| name == own.as_str()));
    if !files.iter().all(|output| is_listed(output.as_ref())) || !now.saved.iter().all(|extra| made.saved.contains(extra)) {
        return Earlier::Incomplete;
    }
    let different = differences(&report, contents, made, &now, settings, weights);
    if different.is_empty() { Earlier::Same(Box::new(report)) } else { Earlier::Different(different.join(", ")) }
}

/// Which scan a report is of.
enum Whose {
    /// That of the job, and whether the files hold what was read then.
    This { contents: Contents },
    /// Another one.
    Other,
}

/// What the files hold that would be read now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contents {
    /// What was read for the report.
    Same,
    /// Other images of the same patient and study.
    SamePatient,
    /// The report does not tell what was read.
    Untold,
    /// They cannot be read.
    Unreadable,
}

/// Whose report it is. A scan is known by its contents, wherever it lies; DICOM at the same place by patient and study
/// too, for other series or slices of it may be used now. Where contents cannot be read, it is known by its place.
fn whose(report: &Report, job: &Job, settings: &Settings) -> Whose {
    let here = match &report.choices {
        Some(made) => made.input == from_root(&job.path),
        None => report.input == job.path.to_string_lossy(),
    };
    let by_place = |contents: Contents| if here { Whose::This { contents } } else { Whose::Other };
    let series = job.study.as_ref().map(|study| study.choose(settings.series.as_deref()));
    let files = match &series {
        None => Files::of(job, None),
        Some(Ok(series)) => Files::of(job, Some(series)),
        Some(Err(_)) => return by_place(Contents::Unreadable),
    };
    let Ok(files) = files else { return by_place(Contents::Unreadable) };
    let Some(source) = &report.source else { return by_place(Contents::Untold) };
    match source.is_of(&files) {
        Ok(true) => Whose::This { contents: Contents::Same },
        Ok(false) if here && source.is_same_patient(&files) => Whose::This { contents: Contents::SamePatient },
        Ok(false) => Whose::Other,
        Err(_) => by_place(Contents::Unreadable),
    }
}

fn differences(
    report: &Report,
    contents: Contents,
    made: &Choices,
    now: &Choices,
    settings: &Settings,
    weights: &Weights,
) -> Vec<&'static str> {
    let same = [
        ("another DICOM series, or other slices of it", contents != Contents::SamePatient),
        ("an input that its report does not tell", contents != Contents::Untold),
        ("another method", made.method == now.method),
        ("other weights", report.weights.sha256 == WeightsIdentity::for_options(&settings.options, weights).sha256),
        ("another second opinion", made.second_opinion_sha256 == now.second_opinion_sha256),
        ("another --drop-unseen", made.drop_unseen == now.drop_unseen),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::report::Extra;
    use crate::network::weights::Dtype;
    use crate::scan::Template;
    use crate::scan::brain;
    use crate::scan::segment::{Interpolation, Options};
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
            let job = Job { name: "a".into(), path, study: None, memory: None };
            let settings = Settings {
                output: folder.path().into(),
                options: Options::default(),
                brain_mask: None,
                template: Template::load(None).unwrap(),
                extras: vec![Extra::Brain],
                pictures: false,
                dicom_report: false,
                series: None,
                inputs: Default::default(),
                overwrite: false,
            };
            for file in ["a.nii", "b.nii", "a_ich.nii.gz"] {
                fs::write(folder.path().join(file), file).unwrap();
            }
            let done = Done { folder, job, settings };
            done.write(Some(Choices::of(&done.job, &done.settings)));
            done
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn write(&self, choices: Option<Choices>) {
            let source = choices.as_ref().map(|_| Files::of(&self.job, None).unwrap().source().unwrap());
            let input = self.job.path.to_string_lossy().into_owned();
            let report = Report { input, choices, source, ..Report::example("a") };
            fs::write(self.path("a_ich.json"), serde_json::to_vec(&report).unwrap()).unwrap();
        }

        fn found(&self, job: &Job, settings: &Settings, weights: &Weights) -> String {
            match find(job, settings, weights, &self.path("a_ich.json"), &[self.path("a_ich.nii.gz")]) {
                Earlier::Same(_) => "same".into(),
                Earlier::Incomplete => "incomplete".into(),
                Earlier::Different(how) => how,
                Earlier::Another(input) => format!("another: {input}"),
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
        // What does not change a result: fewer outputs.
        assert_eq!(with(&|settings| settings.extras = Vec::new()), "same");
        assert_eq!(with(&|settings| settings.options.threshold = Some(0.4)), "another threshold");
        assert_eq!(with(&|settings| settings.options.postprocessing.smooth_mm = Some(1.0)), "other post-processing");
        assert_eq!(with(&|settings| settings.options.outside_brain = true), "another --outside-brain");
        assert_eq!(with(&|settings| settings.options.second_opinion = false), "another second opinion");
        assert_eq!(with(&|settings| settings.options.drop_unseen = true), "another --drop-unseen");
        let said = with(&|settings| settings.options.method = Method::Pitchperfect);
        assert_eq!(said, "another method, other weights, another second opinion, another threshold");
        assert_eq!(with(&|settings| settings.options.interpolation = Interpolation::Nearest), "another interpolation");
        for brain in [BrainSource::SkullStripped, BrainSource::Extract(brain::Options { method: brain::Method::Bet })] {
            assert_eq!(with(&|settings| settings.options.brain = brain.clone()), "another brain mask or method");
        }
        assert_eq!(with(&|settings| settings.brain_mask = Some(done.path("b.nii"))), "another brain mask or method");
        let brighter = |settings: &mut Settings| {
            settings.template = Template::of("built-in", settings.template.volume.map(|hu| hu + 1.0));
        };
        assert_eq!(with(&brighter), "another template");
        let other = Weights::hand_set().with_dtype(Dtype::BF16).unwrap();
        assert_eq!(done.found(&done.job, &done.settings, &other), "other weights");
    }

    #[test]
    fn a_scan_is_known_by_what_is_in_its_file() {
        let done = Done::new();
        let weights = Weights::hand_set();
        let found = |path: PathBuf| done.found(&Job { path, ..done.job.clone() }, &done.settings, &weights);
        let another = format!("another: {}", from_root(&done.path("a.nii")));
        assert_eq!(found(done.path("b.nii")), another, "of the same name, from another folder");
        assert_eq!(found(done.path("missing.nii")), another);
        fs::create_dir(done.path("moved")).unwrap();
        fs::copy(done.path("a.nii"), done.path("moved/a.nii")).unwrap();
        assert_eq!(found(done.path("moved/a.nii")), "same", "the same content elsewhere");
        // The file at the same place holds another scan now.
        fs::write(done.path("a.nii"), "other").unwrap();
        assert_eq!(found(done.path("a.nii")), another);
        assert_eq!(found(done.path("moved/a.nii")), "same");
        fs::remove_file(done.path("a.nii")).unwrap();
        assert_eq!(found(done.path("a.nii")), "incomplete", "it may come back");
        // A file of the report's name that nobody can read may be anybody's.
        fs::write(done.path("a_ich.json"), "{}").unwrap();
        assert!(found(done.path("moved/a.nii")).starts_with("another: an unknown file"));
    }

    #[test]
    fn a_brain_mask_that_has_changed_is_another_one() {
        let mut done = Done::new();
        done.settings.brain_mask = Some(done.path("b.nii"));
        done.write(Some(Choices::of(&done.job, &done.settings)));
        let found = || done.found(&done.job, &done.settings, &Weights::hand_set());
        assert_eq!(found(), "same");
        fs::write(done.path("b.nii"), "changed").unwrap();
        assert_eq!(found(), "another brain mask or method");
    }

    #[test]
    fn what_a_report_says_of_its_result_decides() {
        let done = Done::new();
        let edit = |key: &str, value: serde_json::Value| {
            let mut report: serde_json::Value = serde_json::from_slice(&fs::read(done.path("a_ich.json")).unwrap()).unwrap();
            let before = std::mem::replace(&mut report[key], value);
            fs::write(done.path("a_ich.json"), report.to_string()).unwrap();
            before
        };
        let found = |settings: &Settings| done.found(&done.job, settings, &Weights::hand_set());
        assert_eq!(found(&done.settings), "same");
        // A doubtful result is kept where it may be.
        edit("doubtful", true.into());
        assert_eq!(found(&done.settings), "--keep-doubtful");
        let keep = Options { keep_doubtful: true, ..done.settings.options.clone() };
        assert_eq!(found(&Settings { options: keep, ..done.settings.clone() }), "same");
        edit("doubtful", false.into());
        // A mask that the report does not list is of an earlier result, or somebody else's.
        let outputs = edit("outputs", serde_json::json!(["a_brain.nii.gz"]));
        assert_eq!(found(&done.settings), "incomplete");
        edit("outputs", outputs);
        assert_eq!(found(&done.settings), "same");
        edit("source", serde_json::Value::Null);
        assert_eq!(found(&done.settings), "an input that its report does not tell");
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
