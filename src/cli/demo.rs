//! `ichor demo`

use super::{inference, segment::introduce, tell_grid, timed, with_threads};
use crate::cli::arguments::Demo;
use crate::cli::talk::say;
use ichor::batch::write_mask;
use ichor::io::nifti;
use ichor::network::dice;
use ichor::network::weights::Weights;
use ichor::phantom::{self, Kind};
use ichor::scan::segment::{self, Options};
use ichor::scan::template;
use ichor::{Error, Result};
use std::path::Path;
use std::process::ExitCode;

/// The phantom's seed: none that a training or a table of docs/weights.md has seen.
const SEED: u64 = 424_244;

pub fn run(arguments: &Demo) -> Result<ExitCode> {
    let weights = Weights::built_in()?;
    introduce(&weights);
    with_threads(arguments.run.threads, |threads| {
        let settings =
            phantom::Settings { without_bleed: 0.0, volume_ml: [15.0, 40.0], kinds: vec![Kind::Deep], ..phantom::Settings::ct() };
        let phantom = timed("making of the phantom", || phantom::generate(SEED, &settings))?;
        tell_grid("phantom", phantom.scan.grid());
        let known_ml = phantom.label_ml();
        let header = nifti::Header::for_grid(phantom.scan.grid())?;
        if let Some(folder) = &arguments.output {
            std::fs::create_dir_all(folder).map_err(Error::write(folder))?;
            nifti::write(folder.join("phantom.nii.gz"), &phantom.scan, &header)?;
            write_mask(&folder.join("phantom_truth.nii.gz"), &phantom.label, &header)?;
        }
        let mut inference = inference(&weights, &arguments.run, threads);
        let template = template::built_in();
        let result = segment::segment(phantom.scan, &template, &Options::default(), &mut inference, Path::new("the phantom"))?;
        for warning in &result.warnings {
            log::warn!("{warning} (warning {})", warning.number());
        }
        if let Some(folder) = &arguments.output {
            write_mask(&folder.join("phantom_ich.nii.gz"), &result.mask, &header)?;
        }
        let found: Vec<f32> = result.mask.voxels().iter().map(|&inside| f32::from(u8::from(inside))).collect();
        let overlap = dice(&found, phantom.label.voxels(), 0.5, None).hard;
        say!("known volume   {known_ml:.2} mL");
        say!("found volume   {:.2} mL", result.volume_ml());
        say!("Dice           {overlap:.3}");
        say!("device         {}", inference.device());
        say!("weights        {}", weights.name());
        for (stage, seconds) in &result.seconds {
            say!("{stage:<14} {seconds:.2} s");
        }
        say!("For research use only, not for diagnosis.");
        Ok(ExitCode::SUCCESS)
    })?
}
