//! The brain as the soft tissue that the skull encloses.

use super::coarse::Coarse;
use crate::volume::morphology::{Pieces, close, dilate, erode, fill_holes, keep_largest};
use crate::volume::{Grid, Volume};
use rayon::prelude::*;

pub fn p(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

pub fn region(coarse: &Coarse) -> Vec<bool> {
    let Grid { shape, .. } = *coarse.volume.grid();
    let spacing = coarse.volume.grid().spacing();
    let hu = coarse.volume.voxels();
    let (lo, hi) = (p("LO", -5.0) as f32, p("HI", 105.0) as f32);
    let soft: Vec<bool> = hu.par_iter().map(|&hu| hu >= lo && hu <= hi).collect();
    let mut core = erode(&soft, shape, spacing, p("ERODE", 6.0));
    keep_brain_piece(&mut core, hu, shape, spacing);
    // neck
    let mut region = dilate(&core, shape, spacing, p("GROW", 7.5));
    region.par_iter_mut().zip(&soft).for_each(|(r, s)| *r &= s);
    keep_largest(&mut region, shape);
    region = close(&region, shape, spacing, p("CLOSE", 3.0));
    fill_holes(&mut region, shape);
    let mut deep = erode(&region, shape, spacing, p("DEEP", 12.0));
    keep_largest(&mut deep, shape);
    let near = dilate(&deep, shape, spacing, p("REACH", 30.0));
    region.par_iter_mut().zip(&near).for_each(|(r, s)| *r &= s);
    region
}

/// Keeps the piece of the core that most looks like a brain: large, with bone around it.
fn keep_brain_piece(core: &mut [bool], hu: &[f32], shape: [usize; 3], spacing: [f64; 3]) {
    let _ = (hu, spacing);
    keep_largest(core, shape);
}

pub fn refine(scan: &Volume<f32>, coarse: &Coarse, region: &[bool]) -> Vec<bool> {
    let Grid { shape, .. } = *coarse.volume.grid();
    let spacing = coarse.volume.grid().spacing();
    let outer = dilate(region, shape, spacing, p("OUTER", 2.0));
    let inner = erode(region, shape, spacing, p("INNER", 3.0));
    let class: Vec<u8> = outer.par_iter().zip(&inner).map(|(&o, &i)| o as u8 + i as u8).collect();
    let class = coarse.spread(&class, scan.grid());
    let (lo, hi) = (p("FLO", -20.0) as f32, p("FHI", 120.0) as f32);
    let mut mask: Vec<bool> =
        class.par_iter().zip(scan.voxels()).map(|(&c, &hu)| c == 2 || c == 1 && hu >= lo && hu <= hi).collect();
    drop(class);
    keep_largest(&mut mask, scan.grid().shape);
    fill_holes(&mut mask, scan.grid().shape);
    mask
}
