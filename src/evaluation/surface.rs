//! Distances between the surfaces of two masks in millimetres.
//!
//! A surface is the voxels of a mask that have a voxel outside it, or the end of the grid, at one of their six faces. Each stands for
//! the point at its centre, as in Metrics Reloaded's reference implementation, MONAI and MedPy.

use super::nearest::Tree;
use crate::volume::Volume;
use rayon::prelude::*;

/// Distances of the surfaces of an automated and a manual mask, in mm.
pub struct SurfaceDistances {
    /// From each surface voxel of the automated mask to the nearest of the manual mask, ascending.
    from_automated: Vec<f64>,
    /// From each surface voxel of the manual mask to the nearest of the automated mask, ascending.
    from_manual: Vec<f64>,
}

impl SurfaceDistances {
    /// The distances between two masks on one grid; `None` where a mask is empty.
    pub fn between(automated: &Volume<bool>, manual: &Volume<bool>) -> Option<SurfaceDistances> {
        let (automated, manual) = (surface(automated), surface(manual));
        if automated.is_empty() || manual.is_empty() {
            return None;
        }
        let distances = |from: &[[f64; 3]], to: Vec<[f64; 3]>| {
            let tree = Tree::new(to);
            let mut distances: Vec<f64> = from.par_iter().map(|&place| tree.distance(place)).collect();
            distances.sort_by(f64::total_cmp);
            distances
        };
        let from_automated = distances(&automated, manual.clone());
        Some(SurfaceDistances { from_automated, from_manual: distances(&manual, automated) })
    }

    /// Surface Dice (normalized surface distance): the share of all surface voxels within `tolerance` mm of the other surface.
    ///
    /// Nikolov et al., Clinically applicable segmentation of head and neck anatomy for radiotherapy, J Med Internet Res 2021.
    pub fn surface_dice(&self, tolerance: f64) -> f64 {
        // A hair, so that five steps of 0.4 mm are within 2 mm however they were rounded.
        let limit = tolerance * (1.0 + 1e-6);
        let within = |distances: &[f64]| distances.partition_point(|&mm| mm <= limit);
        let near = within(&self.from_automated) + within(&self.from_manual);
        near as f64 / (self.from_automated.len() + self.from_manual.len()) as f64
    }

    /// The larger of the two directed percentiles of the Hausdorff distance; 95 gives HD95, 100 the Hausdorff distance.
    pub fn hausdorff(&self, percent: f64) -> f64 {
        percentile(&self.from_automated, percent).max(percentile(&self.from_manual, percent))
    }

    /// Mean average surface distance (MASD): the mean of the two directed means.
    pub fn mean_average(&self) -> f64 {
        (mean(&self.from_automated) + mean(&self.from_manual)) / 2.0
    }

    /// Average symmetric surface distance (ASSD): the mean over the voxels of both surfaces.
    pub fn average_symmetric(&self) -> f64 {
        let sum = self.from_automated.iter().sum::<f64>() + self.from_manual.iter().sum::<f64>();
        sum / (self.from_automated.len() + self.from_manual.len()) as f64
    }
}

/// The centres of a mask's surface voxels in the world.
fn surface(mask: &Volume<bool>) -> Vec<[f64; 3]> {
    let [ni, nj, nk] = mask.grid().shape;
    let voxels = mask.voxels();
    let mut places = Vec::new();
    for k in 0..nk {
        for j in 0..nj {
            let row = ni * (j + nj * k);
            for i in (0..ni).filter(|i| voxels[row + i]) {
                let n = row + i;
                let inner = (i > 0 && voxels[n - 1])
                    && (i + 1 < ni && voxels[n + 1])
                    && (j > 0 && voxels[n - ni])
                    && (j + 1 < nj && voxels[n + ni])
                    && (k > 0 && voxels[n - ni * nj])
                    && (k + 1 < nk && voxels[n + ni * nj]);
                if !inner {
                    places.push(mask.grid().affine.apply([i as f64, j as f64, k as f64]));
                }
            }
        }
    }
    places
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// A percentile of ascending values, linear between them (definition 7 of Hyndman and Fan 1996, as NumPy has it).
pub(super) fn percentile(ascending: &[f64], percent: f64) -> f64 {
    let place = percent / 100.0 * (ascending.len() - 1) as f64;
    let (below, above) = (ascending[place.floor() as usize], ascending[place.ceil() as usize]);
    below + (above - below) * place.fract()
}
