// head_f32, head_f16: both 1x1x1 convolutions of the network's end in one pass.
//   logit[v] = b + sum over m of u[m] * act(bias[m] + sum over c of weight[m, c] * x[c, v]),  m = 0, 1
//   probability[v] = 1 / (1 + exp(-logit[v])), where asked for
// layout     x planar f32 or blocked f16; weights f32 [2][C/8][8], then the hidden bias [2], slopes [2], u [2], b
// mapping    thread = 1 voxel
// bound      memory: one pass over x
// tested by  tests/operations.rs
#pragma once
#include "common.cuh"

template <typename T>
struct HeadArguments {
    Global<const T> input;
    Global<const float> weights;
    Global<float> logits;
    Global<float> probabilities;    // or null
    Global<const uint32_t> needed;  // for each tile whether it is computed, or null for all; the logits of the others become -infinity
    Grid grid;
    uint32_t channels;
};
static_assert(sizeof(HeadArguments<float>) == 56, "src/network/cuda/head.rs has the same layout");

constexpr uint32_t HEAD_THREADS = 128;

// No overflow for any x, and 0 for -infinity.
DEVICE float sigmoid(float x) {
    const float e = expf(x < 0.0f ? x : -x);
    const float tail = e / (1.0f + e);
    return x < 0.0f ? tail : 1.0f - tail;
}

template <typename T>
DEVICE void head(const HeadArguments<T>& a) {
    const size_t voxels = a.grid.voxels();
    const size_t voxel = static_cast<size_t>(block_index()) * HEAD_THREADS + thread_index();
    if (voxel >= voxels) return;
    const Voxel at = voxel_at(a.grid, voxel);
    float logit = -INFINITY;
    if (!a.needed || a.needed[a.grid.tile(at.d, at.h, at.w)]) {
        const uint32_t chunks = (a.channels + CHUNK - 1) / CHUNK, slots = chunks * CHUNK;
        float hidden[2] = {};
        for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
            float x[CHUNK];
            load_chunk(x, a.input, chunk, a.channels, voxel, voxels);
            UNROLL
            for (uint32_t m = 0; m < 2; ++m) {
                UNROLL
                for (uint32_t c = 0; c < CHUNK; ++c) {
                    hidden[m] = multiply_add(a.weights[m * slots + chunk * CHUNK + c], x[c], hidden[m]);
                }
            }
        }
        const uint32_t end = 2 * slots;
        logit = a.weights[end + 6];
        UNROLL
        for (uint32_t m = 0; m < 2; ++m) {
            logit = multiply_add(a.weights[end + 4 + m], activate(hidden[m] + a.weights[end + m], a.weights[end + 2 + m]), logit);
        }
    }
    a.logits[voxel] = logit;
    if (a.probabilities) a.probabilities[voxel] = sigmoid(logit);
}

KERNEL(head_f32, HeadArguments<float>, HEAD_THREADS) {
    head(a);
}
KERNEL(head_f16, HeadArguments<uint4>, HEAD_THREADS) {
    head(a);
}
