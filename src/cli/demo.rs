//! `ichor demo`

use super::{inference, segment::introduce, tell_grid, timed, with_threads};
use crate::cli::arguments::Demo;
use crate::cli::talk::say;
use ichor::batch::report::{RESEARCH_USE_ONLY, WeightsIdentity};
use ichor::batch::write_mask;
use ichor::io::{atomic, nifti, ownership};
use ichor::network::dice;
use ichor::network::weights::Weights;
use ichor::phantom::{self, Kind};
use ichor::scan::segment::Options;
use ichor::scan::{segment, template};
use ichor::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

/// The phantom's seed: none that a training or a table of docs/model-card.md has seen.
const SEED: u64 = 424_244;

/// What is kept of a demo, in a folder.
const SCAN: &str = "phantom.nii.gz";
const TRUTH: &str = "phantom_truth.nii.gz";
const FOUND: &str = "phantom_ich.nii.gz";
/// The file that says which of them are a demo's, written last.
const RECORD: &str = "demo.json";

/// What came of a demo: demo.json.
#[derive(Serialize)]
struct Kept<'a> {
    seed: u64,
    known_ml: f64,
    volume_ml: f64,
    dice: f64,
    device: String,
    weights: WeightsIdentity,
    seconds: &'a BTreeMap<String, f64>,
    outputs: [&'static str; 3],
    ichor_version: &'static str,
    notice: &'static str,
}

/// Makes the folder and says what will be in it; nothing there is replaced that no demo wrote.
fn begin(folder: &Path) -> Result<()> {
    let record = folder.join(RECORD);
    let names = [SCAN, TRUTH, FOUND, RECORD];
    ownership::spare(folder, names, &ownership::of(&record), &[])?;
    std::fs::create_dir_all(folder).map_err(Error::write(folder))?;
    Ok(ownership::begin(&record, &names.map(String::from).into())?)
}

pub fn run(arguments: &Demo) -> Result<ExitCode> {
    let weights = Weights::built_in()?;
    introduce(&weights);
    arguments.output.as_deref().map(begin).transpose()?;
    with_threads(arguments.run.threads, |threads| {
        let settings =
            phantom::Settings { without_bleed: 0.0, volume_ml: [15.0, 40.0], kinds: vec![Kind::Deep], ..phantom::Settings::ct() };
        let phantom = timed("making of the phantom", || phantom::generate(SEED, &settings))?;
        tell_grid("phantom", phantom.scan.grid());
        let known_ml = phantom.label_ml();
        let header = nifti::Header::for_grid(phantom.scan.grid())?;
        if let Some(folder) = &arguments.output {
            nifti::write(folder.join(SCAN), &phantom.scan, &header)?;
            write_mask(&folder.join(TRUTH), &phantom.label, &header)?;
        }
        let mut inference = inference(&weights, &arguments.run, threads);
        let template = template::built_in();
        let result = segment::segment(phantom.scan, &template, &Options::default(), &mut inference, Path::new("the phantom"))?;
        for warning in &result.warnings {
            log::warn!("{warning} (warning {})", warning.number());
        }
        let found: Vec<f32> = result.mask.voxels().iter().map(|&inside| f32::from(u8::from(inside))).collect();
        let overlap = dice(&found, phantom.label.voxels(), 0.5, None).hard;
        if let Some(folder) = &arguments.output {
            write_mask(&folder.join(FOUND), &result.mask, &header)?;
            let kept = Kept {
                seed: SEED,
                known_ml,
                volume_ml: result.volume_ml(),
                dice: overlap,
                device: inference.device(),
                weights: WeightsIdentity::of(&weights),
                seconds: &result.seconds,
                outputs: [SCAN, TRUTH, FOUND],
                ichor_version: env!("CARGO_PKG_VERSION"),
                notice: RESEARCH_USE_ONLY,
            };
            atomic::write_json(folder.join(RECORD), &kept)?;
            ownership::end(&folder.join(RECORD))?;
        }
        say!("known volume   {known_ml:.2} mL");
        say!("found volume   {:.2} mL", result.volume_ml());
        say!("Dice           {overlap:.3}");
        say!("device         {}", inference.device());
        say!("weights        {}", weights.name());
        for (stage, seconds) in &result.seconds {
            say!("{stage:<14} {seconds:.2} s");
        }
        say!("{RESEARCH_USE_ONLY}");
        Ok(ExitCode::SUCCESS)
    })?
}
