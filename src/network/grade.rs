//! How exactly a CUDA device computes.

/// How a pass on a CUDA device computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grade {
    /// f32 storage and fused multiply-adds: within 1e-4 of the largest logit.
    #[default]
    Exact,
    /// f16 storage, f32 sums on tensor cores: within 1% of the largest logit. Where a value does not fit f16 the pass is
    /// done again in [`Grade::Exact`]; where a weight does not, or the GPU lacks shared memory for the kernels, every
    /// pass is. A warning says so.
    Fast,
}
