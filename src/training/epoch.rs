//! What came of an epoch.

use serde::{Deserialize, Serialize};

/// What came of an epoch: a row of `curves.csv`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Number, from 1.
    pub epoch: usize,
    /// Updates of the weights so far.
    pub updates: usize,
    /// Seconds that the epoch took.
    pub seconds: f64,
    /// Learning rate of its last update.
    pub rate: f64,
    /// Mean loss of its samples, while it was trained.
    pub loss: f64,
    /// Mean norm of the gradients before they were shortened.
    pub gradient: f64,
    /// Mean loss of the held-out samples, by the averaged weights.
    pub held_out_loss: f64,
    /// Mean Dice of the held-out samples with a bleed, at the best threshold.
    pub held_out_dice: f64,
    /// Mean volume that is found in held-out samples without a bleed, in mL.
    pub false_ml: f64,
    /// The threshold that the weights' file gets: the best one, where the config has none.
    pub threshold: f32,
}
