//! Samples from the generator of head phantoms.

use super::config::Data;
use super::random::Random;
use super::sample::{Sample, Source};
use crate::phantom::{self, Settings};
use crate::pipeline::space;
use crate::{Error, Result};

/// Brains of generated heads on the network's grid, as it sees scans with slices of several thicknesses.
pub struct Phantoms {
    seed: u64,
    data: Data,
}

impl Phantoms {
    /// The phantoms of a training: which ones depends on its seed and data alone.
    ///
    /// # Errors
    /// [`Error::Phantom`] for settings that no phantom can have.
    pub fn new(seed: u64, data: &Data) -> Result<Phantoms> {
        let phantoms = Phantoms { seed, data: data.clone() };
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

    fn sample(&self, number: usize) -> Result<Sample> {
        let mut random = Random::new(self.seed).derive(0).derive(number as u64);
        let thickness = self.data.thickness_mm[random.below(self.data.thickness_mm.len())];
        let settings =
            Settings { without_bleed: self.data.without_bleed, volume_ml: self.data.volume_ml, ..Settings::network(thickness) };
        let head = phantom::generate(random.bits(), &settings)?;
        let (hu, label, mask) = (space::to_network(&head.scan), space::to_network(&head.label), space::to_network(&head.brain));
        let (label, mask) = (label.into_raw_vec_and_offset().0, mask.into_raw_vec_and_offset().0);
        Ok(Sample {
            shape: settings.grid.shape,
            hu: hu.iter().zip(&mask).map(|(hu, &inside)| if inside { hu.round() as i16 } else { 0 }).collect(),
            label: label.iter().zip(&mask).map(|(&label, &inside)| label && inside).collect(),
            mask,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_brain_with_its_bleed_and_the_same_each_time() {
        let phantoms = Phantoms::new(3, &Data { without_bleed: 0.0, volume_ml: [20.0, 40.0], ..Data::default() }).unwrap();
        let sample = phantoms.sample(5).unwrap();
        assert_eq!(phantoms.sample(5).unwrap(), sample);
        assert_ne!(phantoms.sample(6).unwrap(), sample);
        let ml = |flags: &[bool]| flags.iter().filter(|&&flag| flag).count() as f64 * 0.003_375;
        assert!((800.0..2000.0).contains(&ml(&sample.mask)), "{} mL of brain", ml(&sample.mask));
        assert!((5.0..150.0).contains(&ml(&sample.label)), "{} mL of blood", ml(&sample.label));
        for ((&hu, &label), &mask) in sample.hu.iter().zip(&sample.label).zip(&sample.mask) {
            assert!(mask || (hu == 0 && !label));
        }
    }
}
