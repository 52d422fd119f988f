//! `ichor pitchperfect`

use super::{extraction, spare_inputs, timed, with_threads};
use crate::cli::arguments::{self, Pitchperfect};
use crate::cli::talk;
use ichor::batch::{inputs, write_mask};
use ichor::io::{mask, nifti};
use ichor::scan::pitchperfect::brain::Brain;
use ichor::scan::pitchperfect::normals::{Normals, Sums};
use ichor::scan::segment::{self, BrainSource};
use ichor::scan::{pitchperfect, registration, template};
use ichor::words::counted;
use ichor::{Error, Result, Volume};
use std::path::Path;
use std::process::ExitCode;

pub fn run(command: &Pitchperfect) -> Result<ExitCode> {
    match command {
        Pitchperfect::Features { input, output, series, brain, normals, threads } => with_threads(threads.threads, |_| {
            let source = source(brain)?;
            let read;
            let normals = match normals {
                Some(path) => {
                    read = Normals::read(path)?;
                    &read
                }
                None => Normals::built_in(),
            };
            let scan = inputs::read_one(input, series.series.as_deref())?;
            let (image, brain) = brain_of(scan.volume, &source, input)?;
            std::fs::create_dir_all(output).map_err(Error::write(output))?;
            let header = nifti::Header::for_grid(brain.grid())?;
            let images = timed("features", || pitchperfect::features(&brain, normals));
            for (name, image) in [("image", image)].into_iter().chain(images) {
                let path = output.join(format!("{name}.nii.gz"));
                spare_inputs(&path, Some(input), &[])?;
                nifti::write(path, &image, &header)?;
            }
            write_mask(&output.join("voxels.nii.gz"), &brain.mask(), &header)?;
            talk::columns(&[&output.display(), &counted(brain.voxels().len(), "voxel")]);
            Ok(ExitCode::SUCCESS)
        })?,
        Pitchperfect::Normals { inputs: paths, output, brain, threads } => {
            for input in paths {
                spare_inputs(output, Some(input), &[brain.brain_mask.as_deref()])?;
            }
            with_threads(threads.threads, |_| {
                let source = source(brain)?;
                let jobs = inputs::find(paths)?;
                let bar = talk::progress(jobs.len());
                let mut sums = Sums::default();
                for job in &jobs {
                    let (_, brain) = brain_of(inputs::read(job, None)?.volume, &source, &job.path)?;
                    sums.add(&brain);
                    bar.inc(1);
                }
                bar.finish_and_clear();
                sums.normals().write(output)?;
                talk::columns(&[&output.display(), &counted(jobs.len(), "head")]);
                Ok(ExitCode::SUCCESS)
            })?
        }
    }
}

fn source(brain: &arguments::BrainSource) -> Result<BrainSource> {
    Ok(match &brain.brain_mask {
        Some(mask) => BrainSource::Mask(mask::read_brain(mask)?),
        None if brain.skull_stripped => BrainSource::SkullStripped,
        None => BrainSource::Extract(extraction::Options { method: brain.extraction.brain_method.into() }),
    })
}

/// The brain of a scan in the built-in template's world, as an image and as the features take it.
fn brain_of(scan: Volume<f32>, source: &BrainSource, path: &Path) -> Result<(Volume<f32>, Brain)> {
    let prepared = segment::prepare(scan, source, path)?;
    prepared.check(path)?;
    let found = registration::register(&prepared.masked, &template::built_in(), &registration::Options::default());
    let found = found.map_err(Error::registration(path))?;
    if found.is_poor() {
        let problem = "it does not lie well enough on the template to be compared with other heads: leave it out, or look at it by ichor register".into();
        return Err(Error::Scan { path: path.to_path_buf(), problem });
    }
    Ok(pitchperfect::brain(&prepared.masked, &prepared.brain, &found.template_to_scan)?)
}
