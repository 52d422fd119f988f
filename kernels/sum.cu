// sum_f32, sum_f16: the sums of a convolution's splits, added in their order, and its epilogue.
//   y = act(bias + ((split 0 + split 1) + split 2) ...) (+ residual)
// layout     partial sums of f32: planar [split][N][V]; of f16: as conv_f16_tile.cuh says, a warp reads 512 bytes in a row
// mapping    f32: thread = a voxel of a channel; f16: block = a fragment (block_index_y: row d, group) of a tile and a block of
//            output channels, in the same threads that stored it
// bound      memory (L2): 4 bytes a sum and split
// tested by  tests/operations.rs
#pragma once
#include "conv.cu"
#include "conv_f16_tile.cuh"

KERNEL(sum_f32, ConvArguments, CONV_THREADS) {
    const size_t voxels = a.grid.voxels(), voxel = static_cast<size_t>(block_index()) * CONV_THREADS + thread_index();
    if (voxel >= voxels) return;
    const Voxel at = voxel_at(a.grid, voxel);
    if (a.needed && !a.needed[a.grid.tile(at.d, at.h, at.w)]) return;
    float sum = 0.0f;
    for (uint32_t split = 0; split < a.splits; ++split) {
        sum += a.partial[(static_cast<size_t>(split) * a.outputs + block_index_y()) * voxels + voxel];
    }
    conv_finish(a, block_index_y(), voxel, sum);
}

template <uint32_t GROUPS>
DEVICE void sum_f16(const ConvF16Output& a) {
    const uint32_t blocks = (a.chunks + GROUPS - 1) / GROUPS, n = block_index_y();
    ConvF16Item item = conv_f16_item(a, block_index(), blocks, 0);
    if (a.needed && !a.needed[item.tile]) return;
    float sum[4] = {};
    for (item.split = 0; item.split < a.splits; ++item.split) {
        const float4 four = a.partial[conv_f16_partial(a, item, blocks, GROUPS) + n * CONV_F16_THREADS];
        sum[0] += four.x;
        sum[1] += four.y;
        sum[2] += four.z;
        sum[3] += four.w;
    }
    const Voxel origin = tile_origin(a.grid, item.tile);
    if (item.block * GROUPS + n % GROUPS >= a.chunks) return;
    const ConvF16Chunk chunk = conv_f16_chunk(a, item.block * GROUPS + n % GROUPS);
    bool bad = false;
    UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
        size_t voxel;
        if (!conv_f16_voxel(voxel, a.grid, origin, n / GROUPS, half)) continue;
        const uint32_t residual = a.residual ? chunk.residual[chunk.from + voxel * 4] : 0;
        bad = conv_f16_finish(a, chunk, voxel, sum[2 * half], sum[2 * half + 1], residual) || bad;
    }
    if (bad) raise_flag(a.overflow);
}

KERNEL(sum_f16_n32, ConvF16Output, CONV_F16_THREADS) {
    sum_f16<4>(a);
}
KERNEL(sum_f16_n64, ConvF16Output, CONV_F16_THREADS) {
    sum_f16<8>(a);
}
