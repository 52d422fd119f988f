//! `ichor demo`

use super::{inference, segment::introduce, with_threads};
use crate::cli::arguments::Demo;
use ichor::io::nifti;
use ichor::phantom::ellipsoids as phantom;
use ichor::pipeline::batch::write_mask;
use ichor::pipeline::segment::{self, Options};
use ichor::pipeline::template;
use ichor::reference::dice;
use ichor::weights::Weights;
use ichor::{Error, Result};
use std::path::Path;
use std::process::ExitCode;

pub fn run(arguments: &Demo) -> Result<ExitCode> {
    let weights = Weights::demonstration();
    introduce(&weights);
    with_threads(arguments.run.threads, |threads| {
        let phantom = phantom::head();
        let known_ml = phantom.bleed_ml();
        if let Some(folder) = &arguments.output {
            std::fs::create_dir_all(folder).map_err(Error::write(folder))?;
            let header = nifti::Header::for_grid(phantom.scan.grid())?;
            nifti::write(folder.join("phantom.nii.gz"), &phantom.scan, &header)?;
            write_mask(&folder.join("phantom_truth.nii.gz"), &phantom.bleed, &header)?;
        }
        let mut inference = inference(&weights, &arguments.run, threads);
        let template = template::built_in();
        let header = nifti::Header::for_grid(phantom.scan.grid())?;
        let result =
            segment::segment(phantom.scan, &template, &Options::default(), false, &mut inference, Path::new("the phantom"))?;
        for warning in &result.warnings {
            log::warn!("{warning} (warning {})", warning.number());
        }
        if let Some(folder) = &arguments.output {
            write_mask(&folder.join("phantom_ich.nii.gz"), &result.mask, &header)?;
        }
        let found: Vec<f32> = result.mask.voxels().iter().map(|&inside| f32::from(u8::from(inside))).collect();
        let overlap = dice(&found, phantom.bleed.voxels(), 0.5, None).hard;
        println!("known volume   {known_ml:.2} mL");
        println!("found volume   {:.2} mL", result.volume_ml());
        println!("Dice           {overlap:.3}");
        println!("device         {}", inference.device());
        println!("weights        {}", weights.name());
        for (stage, seconds) in &result.seconds {
            println!("{stage:<14} {seconds:.2} s");
        }
        println!("For research use only, not for diagnosis.");
        Ok(ExitCode::SUCCESS)
    })?
}
