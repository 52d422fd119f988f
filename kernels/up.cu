// up_f32: transposed convolution whose stride is its kernel, with its activation: each input voxel fills its own block.
//   y[n, d*sd+i, h*sh+j, w*sw+k] = act(bias[n] + sum over c of weight[i, j, k, n, c] * x[c, d, h, w])
// layout     as down.cu, the same packed weights
// mapping    thread = 2 input voxels x 8 channels of one tap; block_index_y = output chunk * taps + tap
// bound      as down.cu
// tested by  tests/operations.rs
#pragma once
#include "down.cu"

KERNEL(up_f32, StrideF32Arguments, STRIDE_THREADS) {
    const size_t voxels = a.grid.voxels();
    const Grid fine = {a.grid.depth * a.stride[0], a.grid.height * a.stride[1], a.grid.width * a.stride[2]};
    const uint32_t taps = a.stride[0] * a.stride[1] * a.stride[2], chunk = block_index_y() / taps, tap = block_index_y() % taps;
    const uint32_t i = tap / a.stride[2] / a.stride[1], j = tap / a.stride[2] % a.stride[1], k = tap % a.stride[2];
    const size_t first = static_cast<size_t>(block_index()) * STRIDE_THREADS * STRIDE_VOXELS + thread_index();

    size_t from[STRIDE_VOXELS], to[STRIDE_VOXELS];
    bool wanted[STRIDE_VOXELS];
    UNROLL
    for (uint32_t v = 0; v < STRIDE_VOXELS; ++v) {
        from[v] = first + v * STRIDE_THREADS;
        const Voxel at = voxel_at(a.grid, from[v]);
        const uint32_t d = at.d * a.stride[0] + i, h = at.h * a.stride[1] + j, w = at.w * a.stride[2] + k;
        to[v] = (static_cast<size_t>(d) * fine.height + h) * fine.width + w;
        wanted[v] = from[v] < voxels && (!a.needed || a.needed[fine.tile(d, h, w)]);
    }
    float sum[STRIDE_VOXELS][CHUNK] = {};
    stride_accumulate(sum, a, static_cast<size_t>(chunk) * taps + tap, from, wanted, voxels);
    UNROLL
    for (uint32_t v = 0; v < STRIDE_VOXELS; ++v) {
        if (wanted[v]) stride_store(a, sum[v], chunk, to[v], fine.voxels());
    }
}
