// down_f16, up_f16: what down.cu and up.cu compute, for the fast grade: a product of matrices on tensor cores.
//   down     rows = voxels of the coarse grid, columns = outputs, depth = the taps' inputs one tap after another
//   up       rows = voxels of the coarse grid, columns = the outputs of every tap, depth = inputs
// layout     activations blocked f16 [C/8][V][8]; weights f16 [columns/16][depth/16][lane 32][8]: the b fragments of two groups of 8 columns, in
//            the order of the lanes; 16 of depth are two chunks of one tap (src/network/cuda/stride.rs packs them)
// mapping    warp = 32 rows x 8 groups of columns (block_index_y counts them); a fragment's register is read from memory as it is: 8 voxels
//            in a row are 128 bytes
// bound      memory: the larger activation once; 16 mma of m16n8k16 for 8 loads of 4 bytes and 4 of 16 (L1) a lane
// tested by  tests/operations.rs
#pragma once
#include "down.cu"

// Activations as pairs of halves.
using StrideF16Arguments = StrideArguments<uint32_t, uint4>;
static_assert(sizeof(StrideF16Arguments) == 88, "src/network/cuda/stride.rs has the same layout");

constexpr uint32_t STRIDE_F16_THREADS = 128;
constexpr uint32_t STRIDE_F16_ROWS = 32, STRIDE_F16_GROUPS = 8;  // of a warp

template <bool UP>
DEVICE void stride_f16(const StrideF16Arguments& a) {
    const Grid fine = {a.grid.depth * a.stride[0], a.grid.height * a.stride[1], a.grid.width * a.stride[2]};
    const size_t coarse_voxels = a.grid.voxels(), fine_voxels = fine.voxels();
    const uint32_t taps = a.stride[0] * a.stride[1] * a.stride[2], output_chunks = (a.outputs + CHUNK - 1) / CHUNK;
    const uint32_t groups = UP ? taps * output_chunks : output_chunks;
    const uint32_t chunks = a.channels / CHUNK, pairs = (chunks + 1) / 2, steps = UP ? pairs : taps * pairs;
    const uint32_t lane = thread_index() % 32, first_group = block_index_y() * STRIDE_F16_GROUPS;
    const size_t first_row = (static_cast<size_t>(block_index()) * (STRIDE_F16_THREADS / 32) + thread_index() / 32) * STRIDE_F16_ROWS;
    auto fine_voxel = [&](uint32_t d, uint32_t h, uint32_t w) { return (static_cast<size_t>(d) * fine.height + h) * fine.width + w; };

    // A lane has rows lane / 4 + 8 r of the fragments, and of each the pair of channels lane % 4: their first words in both grids.
    size_t coarse[4], first_fine[4];
    bool wanted[4];
    UNROLL
    for (uint32_t r = 0; r < 4; ++r) {
        const size_t row = first_row + 8 * r + lane / 4;
        const Voxel at = voxel_at(a.grid, row);
        const uint32_t d = at.d * a.stride[0], h = at.h * a.stride[1], w = at.w * a.stride[2];
        coarse[r] = row * 4 + lane % 4;
        first_fine[r] = fine_voxel(d, h, w) * 4 + lane % 4;
        // Strides are 1 or 2 and the sides of a tile even: all of a coarse voxel's taps are in one tile.
        wanted[r] = row < coarse_voxels && (!UP || !a.needed || a.needed[fine.tile(d, h, w)]);
    }

    float sum[2][STRIDE_F16_GROUPS][4] = {};
    const size_t input_voxels = UP ? coarse_voxels : fine_voxels;
    const size_t next_weights = static_cast<size_t>(steps) * 32;
    size_t weights = first_group / 2 * next_weights + lane;
    uint32_t pair = 0, i = 0, j = 0, k = 0;  // of a step: its pair of chunks, and of down its tap
    UNROLL_BY(2)
    for (uint32_t step = 0; step < steps; ++step, weights += 32) {
        const size_t first = (2 * pair * input_voxels + (UP ? 0 : fine_voxel(i, j, k))) * 4, second = first + input_voxels * 4;
        const bool has_second = 2 * pair + 1 < chunks;
        uint32_t x[2][4];
        UNROLL
        for (uint32_t r = 0; r < 4; ++r) {
            // Registers of a fragment: rows 0 and 8 of the first chunk, then of the second.
            const size_t row = UP ? coarse[r] : first_fine[r];
            x[r / 2][r % 2] = wanted[r] ? a.input[row + first] : 0;
            x[r / 2][2 + r % 2] = wanted[r] && has_second ? a.input[row + second] : 0;
        }
        UNROLL
        for (uint32_t q = 0; q < STRIDE_F16_GROUPS / 2; ++q) {
            if (first_group + 2 * q >= groups) continue;
            const uint4 b = a.weights[weights + q * next_weights];
            UNROLL
            for (uint32_t m = 0; m < 2; ++m) {
                mma_m16n8k16(sum[m][2 * q], x[m], b.x, b.y);
                mma_m16n8k16(sum[m][2 * q + 1], x[m], b.z, b.w);
            }
        }
        if (++pair < pairs) continue;
        pair = 0;
        if (++k < a.stride[2]) continue;
        k = 0;
        if (++j < a.stride[1]) continue;
        j = 0;
        ++i;
    }

    bool bad = false;
    UNROLL
    for (uint32_t g = 0; g < STRIDE_F16_GROUPS; ++g) {
        if (first_group + g >= groups) break;
        const uint32_t chunk = UP ? (first_group + g) % output_chunks : first_group + g, channel = chunk * CHUNK + lane % 4 * 2;
        const uint32_t tap = (first_group + g) / output_chunks;
        const size_t to = UP ? chunk * fine_voxels + fine_voxel(tap / a.stride[2] / a.stride[1], tap / a.stride[2] % a.stride[1], tap % a.stride[2])
                             : chunk * coarse_voxels;
        UNROLL
        for (uint32_t r = 0; r < 4; ++r) {
            if (!wanted[r]) continue;
            const float* two = sum[r / 2][g] + r % 2 * 2;
            // Weights and biases of the padding are 0, so it becomes 0.
            const float low = activate(two[0] + a.bias[channel], a.slopes[channel]);
            const float high = activate(two[1] + a.bias[channel + 1], a.slopes[channel + 1]);
            a.output[(UP ? first_fine[r] : coarse[r]) + to * 4] = pack_half2(low, high);
            bad = bad || overflows(low) || overflows(high);
        }
    }
    if (bad) raise_flag(a.overflow);
}

KERNEL_FOR(down_f16, StrideF16Arguments, STRIDE_F16_THREADS, 4) {
    stride_f16<false>(a);
}
KERNEL_FOR(up_f16, StrideF16Arguments, STRIDE_F16_THREADS, 4) {
    stride_f16<true>(a);
}
