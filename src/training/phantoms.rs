//! Samples from the generator of head phantoms.

use super::config::Data;
use super::pairs;
use super::sample::{Sample, Source};
use crate::phantom::{self, Settings};
use crate::random::keyed::Random;
use crate::scan::brain;
use crate::scan::segment::{self, BrainSource};
use crate::volume::Affine;
use crate::{Error, Result};
use std::path::Path;

/// Scans of generated heads with slices of several thicknesses and tilts, as the network sees them: the brain is extracted as `segment` does it, so that what it
/// leaves of the skull and takes off the brain is learned too.
pub struct Phantoms {
    seed: u64,
    data: Data,
    planar: bool,
}

/// Voxels of a slice along both of its axes, and their size in mm: coarser than a CT, finer than the network's grid.
const SLICE: (usize, f64) = (232, 1.0);
/// Extent of a head's slices in mm.
const HEIGHT_MM: f64 = 180.0;
/// Tilts of the gantry lie between these, in degrees; half of the scans have none.
const TILT: [f64; 2] = [-5.0, 22.0];

impl Phantoms {
    /// The phantoms of a training: which ones depends on its seed and data alone. With `planar`, slices for a 2D network.
    ///
    /// # Errors
    /// [`Error::Phantom`] for settings that no phantom can have.
    pub fn new(seed: u64, data: &Data, planar: bool) -> Result<Phantoms> {
        let phantoms = Phantoms { seed, data: data.clone(), planar };
        if data.thickness_mm.iter().any(|mm| !(0.05..=50.0).contains(mm)) {
            return Err(Error::Phantom(format!("slices of {:?} mm cannot be made", data.thickness_mm)));
        }
        Ok(phantoms)
    }
}

impl Source for Phantoms {
    fn len(&self) -> usize {
        self.data.held_out + self.data.training
    }

    fn key(&self) -> String {
        let Data { thickness_mm, without_bleed, hard, volume_ml, .. } = &self.data;
        format!(
            "scans of phantoms {} {} {thickness_mm:?} {without_bleed} {hard} {volume_ml:?} {}",
            phantom::REVISION,
            self.seed,
            self.planar
        )
    }

    fn sample(&self, number: usize) -> Result<Sample> {
        let mut random = Random::new(self.seed).derive(0).derive(number as u64);
        let thickness = self.data.thickness_mm[random.below(self.data.thickness_mm.len())];
        let tilt = if random.uniform() < 0.5 { 0.0 } else { random.range(TILT[0], TILT[1]) };
        let (side, pixel) = SLICE;
        // Slices are as far apart along z as the tilt makes them.
        let apart = thickness / tilt.to_radians().cos();
        let grid = phantom::ct_grid([side, side, (HEIGHT_MM / apart).ceil() as usize], [pixel, pixel, apart], tilt);
        let settings = Settings {
            without_bleed: self.data.without_bleed,
            volume_ml: self.data.volume_ml,
            hard: random.uniform() < self.data.hard,
            crooked: 3.0,
            ..Settings::new(grid, thickness)
        };
        let head = phantom::generate(random.bits(), &settings)?;
        let path = Path::new("a generated head");
        let extract = BrainSource::Extract(brain::Options::default());
        // Of a field of view that cuts off too much no brain can be extracted: the true one is taken.
        let prepared = segment::prepare(head.scan.clone(), &extract, path)
            .or_else(|_| segment::prepare(head.scan, &BrainSource::Mask(head.brain), path))?;
        if self.planar {
            let grid = segment::slice_grid(prepared.masked.grid());
            let (hu, label, brain) = pairs::resampled(&prepared, &head.label, &grid, &Affine::IDENTITY)?;
            return Ok(Sample::slices(&hu, &label, &brain));
        }
        // Patients lie straight within a few degrees: no registration is needed.
        let (hu, label, brain) = pairs::resampled(&prepared, &head.label, &Settings::network(thickness).grid, &Affine::IDENTITY)?;
        Ok(Sample::volume(&hu, &label, &brain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_brain_with_its_bleed_and_the_same_each_time() {
        let phantoms = Phantoms::new(3, &Data { without_bleed: 0.0, volume_ml: [20.0, 40.0], ..Data::default() }, false).unwrap();
        let sample = phantoms.sample(5).unwrap();
        assert_eq!(phantoms.sample(5).unwrap(), sample);
        assert_ne!(phantoms.sample(6).unwrap(), sample);
        let ml = |flags: &[bool]| flags.iter().filter(|&&flag| flag).count() as f64 * sample.voxel_ml;
        assert!((800.0..2000.0).contains(&ml(&sample.mask)), "{} mL of brain", ml(&sample.mask));
        assert!((5.0..150.0).contains(&ml(&sample.label)), "{} mL of blood", ml(&sample.label));
        for ((&hu, &label), &mask) in sample.hu.iter().zip(&sample.label).zip(&sample.mask) {
            assert!(mask || (hu == 0 && !label));
        }
    }
}
