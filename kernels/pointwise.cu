// prelu_f32, sigmoid_f32, pack_f16, unpack_f16: operations on each voxel by itself.
//   prelu_f32    y[c, v] = x[c, v] where that is positive, else slope[c] * x[c, v]       planar to planar
//   sigmoid_f32  y[v] = 1 / (1 + exp(-x[v]))                                             one channel
//   pack_f16     planar f32 to blocked f16, zeros in the padding; overflow is flagged
//   unpack_f16   blocked f16 to planar f32
// mapping    thread = one value (prelu, sigmoid) or 8 channels of a voxel (pack, unpack)
// bound      memory
// tested by  tests/operations.rs
#pragma once
#include "head.cu"

struct PointwiseArguments {
    Global<const float> input;
    Global<const float> slopes;
    Global<float> output;
    uint64_t voxels;
    uint32_t channels, padding;
};
static_assert(sizeof(PointwiseArguments) == 40, "src/network/cuda/pointwise.rs has the same layout");

struct PackArguments {
    Global<const float> planar_input;  // of pack
    Global<uint4> blocked_output;
    Global<const uint4> blocked_input;  // of unpack
    Global<float> planar_output;
    Global<uint32_t> overflow;
    uint64_t voxels;
    uint32_t channels, padding;
};
static_assert(sizeof(PackArguments) == 56, "src/network/cuda/pointwise.rs has the same layout");

constexpr uint32_t POINTWISE_THREADS = 256;

KERNEL(prelu_f32, PointwiseArguments, POINTWISE_THREADS) {
    const size_t voxel = static_cast<size_t>(block_index()) * POINTWISE_THREADS + thread_index();
    if (voxel >= a.voxels) return;
    const size_t at = block_index_y() * a.voxels + voxel;
    a.output[at] = activate(a.input[at], a.slopes[block_index_y()]);
}

KERNEL(sigmoid_f32, PointwiseArguments, POINTWISE_THREADS) {
    const size_t voxel = static_cast<size_t>(block_index()) * POINTWISE_THREADS + thread_index();
    if (voxel < a.voxels) a.output[voxel] = sigmoid(a.input[voxel]);
}

KERNEL(pack_f16, PackArguments, POINTWISE_THREADS) {
    const size_t voxel = static_cast<size_t>(block_index()) * POINTWISE_THREADS + thread_index();
    if (voxel >= a.voxels) return;
    float x[CHUNK];
    load_chunk(x, a.planar_input, block_index_y(), a.channels, voxel, a.voxels);
    store_chunk(a.blocked_output, x, block_index_y(), a.channels, voxel, a.voxels, a.overflow);
}

KERNEL(unpack_f16, PackArguments, POINTWISE_THREADS) {
    const size_t voxel = static_cast<size_t>(block_index()) * POINTWISE_THREADS + thread_index();
    if (voxel >= a.voxels) return;
    float x[CHUNK];
    load_chunk(x, a.blocked_input, block_index_y(), a.channels, voxel, a.voxels);
    store_chunk(a.planar_output, x, block_index_y(), a.channels, voxel, a.voxels, a.overflow);
}
