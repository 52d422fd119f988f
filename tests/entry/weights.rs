//! Any bytes as a weights file: weights or an error, no panic, no memory that the bytes do not account for.

use ichor::network::weights::{Dtype, Weights, format};

/// Opens the bytes; what can be opened can be read, written again, and comes back the same.
pub fn weights(bytes: &[u8]) {
    let Ok(weights) = Weights::from_bytes("fuzz", bytes.to_vec()) else { return };
    let values = |weights: &Weights| {
        let names = weights.description().tensors().into_iter().map(|t| t.name);
        names.map(|name| (name.clone(), weights.tensor(&name).into_owned())).collect()
    };
    let written = format::serialize(weights.description(), weights.metadata(), &values(&weights), Dtype::F32).unwrap();
    let again = Weights::from_bytes("again", written).unwrap();
    assert_eq!(again.description(), weights.description());
    assert_eq!(again.metadata(), weights.metadata());
    assert!(values(&again) == values(&weights));
}
