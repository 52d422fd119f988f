//! How well two masks overlap: counts of voxels and their ratios, with the names of Metrics Reloaded.
//!
//! Source of definitions and of what empty masks give: Maier-Hein, Reinke et al., Metrics Reloaded, Nature Methods 2024, and its
//! reference implementation (`pairwise_measures.py`).

use crate::volume::Volume;

/// Numbers of voxels of an automated and a manual mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Voxels in both masks: true positives.
    pub both: usize,
    /// Voxels in the automated mask.
    pub automated: usize,
    /// Voxels in the manual mask.
    pub manual: usize,
}

impl Counts {
    /// Counts the voxels of two masks on one grid.
    ///
    /// # Panics
    /// When the masks have not the same number of voxels.
    pub fn of(automated: &Volume<bool>, manual: &Volume<bool>) -> Counts {
        assert_eq!(automated.grid().shape, manual.grid().shape, "masks are compared on one grid");
        let mut counts = Counts { both: 0, automated: 0, manual: 0 };
        for (&automated, &manual) in automated.voxels().iter().zip(manual.voxels()) {
            counts.both += usize::from(automated && manual);
            counts.automated += usize::from(automated);
            counts.manual += usize::from(manual);
        }
        counts
    }

    /// Dice similarity coefficient, 2 |A and M| / (|A| + |M|); 1 where both masks are empty.
    pub fn dice(&self) -> f64 {
        ratio(2 * self.both, self.automated + self.manual).unwrap_or(1.0)
    }

    /// Jaccard index (intersection over union), |A and M| / |A or M|; `None` where both masks are empty.
    pub fn jaccard(&self) -> Option<f64> {
        ratio(self.both, self.automated + self.manual - self.both)
    }

    /// Sensitivity, |A and M| / |M|; `None` where the manual mask is empty.
    pub fn sensitivity(&self) -> Option<f64> {
        ratio(self.both, self.manual)
    }

    /// Precision (positive predictive value), |A and M| / |A|; 0 where the automated mask alone is empty, `None` where both are.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.both, self.automated).or((self.manual > 0).then_some(0.0))
    }
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
