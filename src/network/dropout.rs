use super::plan::{BufferId, Plan};

/// Dropout of the outputs of the deepest blocks.
#[derive(Clone, Copy)]
pub struct Dropout<'a> {
    /// The share that is dropped.
    pub rate: f64,
    /// Number of levels, from the deepest up, whose blocks' outputs are dropped out.
    pub levels: usize,
    /// Whether a value is kept: by the block's buffer, the voxel (counted as in memory, W fastest) and the channel.
    pub keep: &'a (dyn Fn(BufferId, usize, usize) -> bool + Sync),
}

impl Dropout<'_> {
    /// Whether a buffer of a plan is one whose values are dropped out.
    pub fn drops(&self, plan: &Plan, buffer: BufferId) -> bool {
        plan.buffers[buffer].level + self.levels > plan.description.levels() && plan.blocks.iter().any(|(_, id)| *id == buffer)
    }
}
