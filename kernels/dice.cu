// dice_partial, dice_total, dice_gradient: overlap of probabilities p with a binary label g.
//   five sums in one pass: p g, p^2 + g^2, |P and G|, |P|, |G| with P = p > threshold; from them soft Dice 2 sum(p g) / sum(p^2 + g^2)
//   (Milletari et al. 2016, section 3), hard Dice and the volume (src/network/cuda/dice.rs)
//   gradient[v] = 2 (g (sum p^2 + g^2) - 2 p sum(p g)) / (sum p^2 + g^2)^2, 0 where both are empty
// layout     p f32 [V], g bytes 0 or 1 [V]; sums f64 [5] a block, then in all
// mapping    a fixed number of blocks; each thread strides over the voxels. Sums are added in a fixed order, so the result is the same
//            bits each time; no atomics.
// bound      memory: 5 bytes a voxel
// tested by  tests/operations.rs
#pragma once
#include "common.cuh"

struct DiceArguments {
    Global<const float> prediction;
    Global<const uint8_t> label;
    Global<double> partial;   // [DICE_BLOCKS][5]
    Global<double> total;     // [5]
    Global<float> gradient;
    uint64_t voxels;
    float threshold;
    uint32_t padding;
};
static_assert(sizeof(DiceArguments) == 56, "src/network/cuda/dice.rs has the same layout");

constexpr uint32_t DICE_THREADS = 256, DICE_BLOCKS = 64, DICE_SUMS = 5;

KERNEL(dice_partial, DiceArguments, DICE_THREADS) {
    double sum[DICE_SUMS] = {};
    for (size_t v = static_cast<size_t>(block_index()) * DICE_THREADS + thread_index(); v < a.voxels; v += DICE_BLOCKS * DICE_THREADS) {
        const float p = a.prediction[v];
        const bool inside = a.label[v] != 0, predicted = p > a.threshold;
        sum[0] += inside ? static_cast<double>(p) : 0.0;
        sum[1] += static_cast<double>(p) * p + (inside ? 1.0 : 0.0);
        sum[2] += predicted && inside ? 1.0 : 0.0;
        sum[3] += predicted ? 1.0 : 0.0;
        sum[4] += inside ? 1.0 : 0.0;
    }
    const Shared<double> warps = shared_array<double>(0, DICE_SUMS * DICE_THREADS / 32);
    UNROLL
    for (uint32_t s = 0; s < DICE_SUMS; ++s) {
        for (uint32_t delta = 16; delta > 0; delta /= 2) sum[s] += shuffle_down(sum[s], delta);
        if (thread_index() % 32 == 0) warps[thread_index() / 32 * DICE_SUMS + s] = sum[s];
    }
    sync_block();
    if (thread_index() < DICE_SUMS) {
        double all = 0.0;
        for (uint32_t warp = 0; warp < DICE_THREADS / 32; ++warp) all += warps[warp * DICE_SUMS + thread_index()];
        a.partial[block_index() * DICE_SUMS + thread_index()] = all;
    }
}

KERNEL(dice_total, DiceArguments, 32) {
    if (thread_index() >= DICE_SUMS) return;
    double all = 0.0;
    for (uint32_t block = 0; block < DICE_BLOCKS; ++block) all += a.partial[block * DICE_SUMS + thread_index()];
    a.total[thread_index()] = all;
}

KERNEL(dice_gradient, DiceArguments, DICE_THREADS) {
    const size_t v = static_cast<size_t>(block_index()) * DICE_THREADS + thread_index();
    if (v >= a.voxels) return;
    const double products = a.total[0], squares = a.total[1];
    const double inside = a.label[v] != 0 ? 1.0 : 0.0;
    const double slope = 2.0 * (inside * squares - 2.0 * static_cast<double>(a.prediction[v]) * products) / (squares * squares);
    a.gradient[v] = squares > 0.0 ? static_cast<float>(slope) : 0.0f;
}
