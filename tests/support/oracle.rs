//! The reference outputs of the network: figures of six cases, and the logits of the smallest, are in `tests/oracle`; the
//! other logits are in the folder of reference data.

use ichor::network::Description;
use ichor::network::weights::{Weights, generate};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The case whose logits are committed.
pub const SMALLEST: &str = "narrow_16x16x16.logits.npy";

#[derive(Deserialize)]
pub struct Case {
    pub file: String,
    spec: serde_json::Map<String, serde_json::Value>,
    /// (D, H, W)
    pub shape: [usize; 3],
    input_sum: f64,
    logits: Figures,
    /// Of each block's output.
    pub blocks: BTreeMap<String, Block>,
}

/// Figures of all logits.
#[derive(Deserialize)]
struct Figures {
    min: f64,
    max: f64,
    mean: f64,
    l2: f64,
}

#[derive(Deserialize)]
pub struct Block {
    pub mean: f64,
    pub l2: f64,
    /// The first voxel of each channel.
    pub first: Vec<f64>,
}

pub fn cases() -> Vec<Case> {
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(committed().join("index.json")).unwrap()).unwrap();
    assert_eq!(cases.len(), 6);
    cases
}

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle")
}

impl Case {
    pub fn weights(&self) -> Weights {
        let mut spec = self.spec.clone();
        let seed = spec.remove("seed").unwrap();
        let description: Description = serde_json::from_value(spec.into()).unwrap();
        Weights::generate(&description, seed.as_str().unwrap()).unwrap()
    }

    pub fn input(&self) -> Vec<f32> {
        let input = generate::ct_input(self.spec["seed"].as_str().unwrap(), self.shape);
        let sum: f64 = input.iter().map(|&hu| f64::from(hu)).sum();
        assert!((sum - self.input_sum).abs() < 1e-6 * self.input_sum, "the input is not the oracle's");
        input
    }

    /// All logits, or `None` with a printed reason.
    pub fn truth(&self) -> Option<Vec<f64>> {
        let path = Some(committed().join(&self.file)).filter(|path| path.is_file());
        let path = path.or_else(|| super::shared(&format!("oracle/{}", self.file)));
        assert!(path.is_some() || self.file != SMALLEST, "{SMALLEST} is part of the project");
        path.map(|path| read_npy(&path))
    }

    /// Compares logits with the figures of the reference's and, where they are there, with all of its logits; `tolerance` is
    /// of the largest logit. Gives the voxels whose logit has another sign.
    pub fn check(&self, what: &str, logits: &[f32], tolerance: f64) -> usize {
        let count = logits.len() as f64;
        let values = || logits.iter().map(|&logit| f64::from(logit));
        let Figures { min, max, mean, l2 } = self.logits;
        let largest = max.abs().max(min.abs());
        for (name, found, expected) in [
            ("smallest", values().fold(f64::INFINITY, f64::min), min),
            ("largest", values().fold(f64::NEG_INFINITY, f64::max), max),
            ("mean", values().sum::<f64>() / count, mean),
            ("l2", (values().map(|v| v * v).sum::<f64>() / count).sqrt(), l2),
        ] {
            let near = (found - expected).abs() <= tolerance * largest;
            assert!(near, "{} {what}: the {name} is {found}, not {expected}", self.file);
        }
        let Some(truth) = self.truth() else { return 0 };
        assert_eq!(logits.len(), truth.len());
        let error = values().zip(&truth).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / largest;
        let moved = logits.iter().zip(&truth).filter(|(a, b)| (**a > 0.0) != (**b > 0.0)).count();
        println!("{} {what}: {error:.1e} of the largest logit, {moved} of {} voxels moved", self.file, truth.len());
        assert!(error <= tolerance, "{} {what}: {error:e}", self.file);
        moved
    }
}

/// The values of a .npy file of f8 or f4 in C order.
fn read_npy(path: &Path) -> Vec<f64> {
    let bytes = std::fs::read(path).unwrap();
    let header_end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..header_end]).unwrap();
    assert!(header.contains("'fortran_order': False"), "{header}");
    let data = &bytes[header_end..];
    if header.contains("<f8") {
        data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
    } else {
        assert!(header.contains("<f4"), "{header}");
        data.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
    }
}
