//! Batches hold what they are to hold. What is computed from them is tested in tests/operations.rs.

use super::tile_batch::Batch;
use crate::network::region::Tiling;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn batches_hold_every_wanted_tile_once(
        (d, h, w) in (1usize..5, 1usize..6, 1usize..9),
        size in (1usize..3, 1usize..4, 1usize..5),
        wanted in prop::collection::vec(any::<bool>(), 4 * 5 * 8),
    ) {
        let tiling = Tiling { shape: [d, h, w], tile: [1; 3] };
        let size = [size.0, size.1, size.2];
        let mut seen = vec![0; tiling.len()];
        for batch in Batch::list(&tiling, |tile| wanted[tile], size) {
            prop_assert!((0..3).all(|axis| batch.size[axis] <= size[axis]));
            prop_assert_eq!(batch.tiles, batch.runs.iter().map(|run| run.len).sum::<usize>());
            for run in &batch.runs {
                for n in 0..run.len {
                    let [d, h, w] = [0, 1, 2].map(|axis| batch.origin[axis] + run.position[axis]);
                    prop_assert!(run.position[2] + n < batch.size[2]);
                    seen[tiling.index([d, h, w + n])] += 1;
                }
            }
        }
        prop_assert!(seen.iter().zip(wanted).all(|(&n, wanted)| n == usize::from(wanted)));
    }
}
