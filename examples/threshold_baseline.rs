//! The plain baseline of docs/model-card.md: no network, no registration. The brain is smoothed and thresholded, its rim is left out, small pieces are dropped.
//!
//! `cargo run --release --example threshold_baseline -- SCANS OUTPUT`: a mask NAME_ich.nii.gz for each scan of a folder.
//! For research use only, not for diagnosis.

use ichor::batch;
use ichor::batch::inputs;
use ichor::io::nifti;
use ichor::scan::brain;
use ichor::scan::segment::{self, BrainSource};
use ichor::volume::morphology::{Pieces, erode};
use ichor::volume::{Volume, orientation};
use rayon::prelude::*;
use std::error::Error;
use std::path::{Path, PathBuf};

/// Above this a smoothed voxel is called blood.
const THRESHOLD_HU: f32 = 42.0;
/// Deviation of the Gaussian that smooths, in mm.
const SIGMA_MM: f64 = 1.5;
/// What is left out along the brain's surface.
const RIM_MM: f64 = 4.0;
/// Smaller pieces are dropped.
const LEAST_ML: f64 = 0.3;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [scans, output] = arguments.as_slice() else { return Err("give a folder of scans and one for the masks".into()) };
    std::fs::create_dir_all(output)?;
    for job in inputs::find(std::slice::from_ref(scans))? {
        let scan = nifti::read(&job.path)?;
        let mask = blood(scan.volume, &job.path)?;
        println!("{}\t{:.2} mL", job.name, mask.volume_ml());
        batch::write_mask(&output.join(format!("{}_ich.nii.gz", job.name)), &mask, &scan.header)?;
    }
    Ok(())
}

fn blood(scan: Volume<f32>, path: &Path) -> ichor::Result<Volume<bool>> {
    let prepared = segment::prepare(scan, &BrainSource::Extract(brain::Options::default()), path)?;
    let grid = prepared.brain.grid();
    let (shape, spacing) = (grid.shape, grid.spacing());
    let inner = erode(prepared.brain.voxels(), shape, spacing, RIM_MM);
    let smooth = smoothed(prepared.masked.voxels(), prepared.brain.voxels(), shape, spacing);
    let mut mask: Vec<bool> = smooth.iter().zip(&inner).map(|(&hu, &inside)| inside && hu > THRESHOLD_HU).collect();
    let pieces = Pieces::of(&mask, shape, true);
    let least = LEAST_ML * 1000.0 / grid.voxel_mm3();
    pieces.paint(&mut mask, false, |piece| (pieces.sizes[piece] as f64) < least);
    Ok(orientation::from_ras(&Volume::new(grid.clone(), mask), &prepared.own_grid))
}

/// Gaussian mean of the values inside a mask, one axis after the other.
fn smoothed(values: &[f32], mask: &[bool], shape: [usize; 3], spacing: [f64; 3]) -> Vec<f32> {
    let mut sums: Vec<[f32; 2]> =
        values.iter().zip(mask).map(|(&hu, &inside)| if inside { [hu, 1.0] } else { [0.0; 2] }).collect();
    for axis in 0..3 {
        let sigma = SIGMA_MM / spacing[axis];
        let reach = (3.0 * sigma).ceil() as isize;
        let weights: Vec<f32> = (-reach..=reach).map(|d| (-0.5 * (d as f64 / sigma).powi(2)).exp() as f32).collect();
        let stride: usize = shape[..axis].iter().product();
        let before = std::mem::take(&mut sums);
        sums = (0..before.len())
            .into_par_iter()
            .map(|voxel| {
                let at = (voxel / stride % shape[axis]) as isize;
                let mut sum = [0.0; 2];
                for (weight, d) in weights.iter().zip(-reach..) {
                    if (0..shape[axis] as isize).contains(&(at + d)) {
                        let beside = before[(voxel as isize + d * stride as isize) as usize];
                        sum = [sum[0] + weight * beside[0], sum[1] + weight * beside[1]];
                    }
                }
                sum
            })
            .collect();
    }
    sums.iter().zip(mask).map(|(&[sum, weight], &inside)| if inside { sum / weight } else { 0.0 }).collect()
}
