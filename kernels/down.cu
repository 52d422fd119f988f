// down_f32: convolution whose stride is its kernel, no padding, with its activation.
//   y[n, d, h, w] = act(bias[n] + sum over c, i, j, k of weight[i, j, k, c, n] * x[c, d*sd+i, h*sh+j, w*sw+k])
// layout     planar f32; weights f32 [N/8][sd sh sw][C/8][8 in][8 out], zeros in the padding (src/network/cuda/stride.rs)
// mapping    thread = 2 output voxels x 8 channels; a block's threads share their weights, which L1 broadcasts
// bound      L1: 16 loads of weights (16 bytes, one address a warp) for 128 FMA; 1% of the network's operations
// tested by  tests/operations.rs
#pragma once
#include "common.cuh"

// Of both grades: elements of an activation and of the weights as the grade stores them.
template <typename Element, typename Weight>
struct StrideArguments {
    Global<const Element> input;
    Global<const Weight> weights;
    Global<const float> bias;    // N, padded to a multiple of 8
    Global<const float> slopes;  // likewise
    Global<Element> output;
    Global<const uint32_t> needed;  // for each tile of the output of up whether it is computed, or null for all
    Global<uint32_t> overflow;      // of f16
    Grid grid;                      // the coarse one: the output's of down, the input's of up
    uint32_t stride[3];
    uint32_t channels, outputs;     // of f16 the channels fill their chunks
};
using StrideF32Arguments = StrideArguments<float, float4>;
static_assert(sizeof(StrideF32Arguments) == 88, "src/network/cuda/stride.rs has the same layout");

constexpr uint32_t STRIDE_THREADS = 128;
constexpr uint32_t STRIDE_VOXELS = 2;  // of a thread

// sum[v] += weights of (output chunk, tap) times the channels of `from[v]`, where wanted; 8 input channels at a time.
DEVICE void stride_accumulate(float sum[STRIDE_VOXELS][CHUNK], const StrideF32Arguments& a, size_t tap, const size_t from[STRIDE_VOXELS],
                              const bool wanted[STRIDE_VOXELS], size_t voxels) {
    const uint32_t chunks = (a.channels + CHUNK - 1) / CHUNK;
    for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
        float4 weights[2 * CHUNK];
        UNROLL
        for (uint32_t n = 0; n < 2 * CHUNK; ++n) weights[n] = a.weights[(tap * chunks + chunk) * 2 * CHUNK + n];
        UNROLL
        for (uint32_t v = 0; v < STRIDE_VOXELS; ++v) {
            if (!wanted[v]) continue;
            float x[CHUNK];
            load_chunk(x, a.input, chunk, a.channels, from[v], voxels);
            multiply_chunk(sum[v], x, weights);
        }
    }
}

DEVICE void stride_store(const StrideF32Arguments& a, const float sum[CHUNK], uint32_t chunk, size_t voxel, size_t voxels) {
    UNROLL
    for (uint32_t n = 0; n < CHUNK; ++n) {
        const uint32_t channel = chunk * CHUNK + n;
        if (channel < a.outputs) a.output[channel * voxels + voxel] = activate(sum[n] + a.bias[channel], a.slopes[channel]);
    }
}

KERNEL(down_f32, StrideF32Arguments, STRIDE_THREADS) {
    const size_t voxels = a.grid.voxels();
    const uint32_t height = a.grid.height * a.stride[1], width = a.grid.width * a.stride[2];
    const uint32_t taps = a.stride[0] * a.stride[1] * a.stride[2], chunk = block_index_y();
    const size_t first = static_cast<size_t>(block_index()) * STRIDE_THREADS * STRIDE_VOXELS + thread_index();
    float sum[STRIDE_VOXELS][CHUNK] = {};
    for (uint32_t tap = 0; tap < taps; ++tap) {
        const uint32_t i = tap / a.stride[2] / a.stride[1], j = tap / a.stride[2] % a.stride[1], k = tap % a.stride[2];
        size_t from[STRIDE_VOXELS];
        bool wanted[STRIDE_VOXELS];
        UNROLL
        for (uint32_t v = 0; v < STRIDE_VOXELS; ++v) {
            wanted[v] = first + v * STRIDE_THREADS < voxels;
            const Voxel at = voxel_at(a.grid, first + v * STRIDE_THREADS);
            from[v] = (static_cast<size_t>(at.d * a.stride[0] + i) * height + at.h * a.stride[1] + j) * width + at.w * a.stride[2] + k;
        }
        stride_accumulate(sum, a, static_cast<size_t>(chunk) * taps + tap, from, wanted, voxels * taps);
    }
    UNROLL
    for (uint32_t v = 0; v < STRIDE_VOXELS; ++v) {
        const size_t index = first + v * STRIDE_THREADS;
        if (index < voxels) stride_store(a, sum[v], chunk, index, voxels);
    }
}
