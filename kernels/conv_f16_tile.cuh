// What the convolutions of the fast grade share: which part of the work a block does, and what becomes of its sums.
//
// The work is cut in items: a tile of 4x8x16 voxels, a block of output channels and a part of the input channels ("split"). The sums of an
// item are held by 8 warps: warp h has the 4 rows (d, h) of the tile, in fragments of m16n8k16: m = the 16 voxels of a row, n = a group of 8
// channels. sum[d][4 g + r] is register r of group g: voxel lane / 4 + 8 (r / 2), channel 2 (lane % 4) + r % 2.
// With one split the sums are finished at once; with several each is stored and conv_f16_sum finishes them, in the order of the splits.
#pragma once
#include "common.cuh"

struct ConvF16Output {
    Global<const float> bias;           // for each slot of the output, padded to a multiple of 64
    Global<const float> slopes;         // likewise
    Global<const uint32_t> residual;    // pairs of halves: the first `residual_chunks` chunks, or null
    Global<const uint32_t> residual_skip;
    Global<uint32_t> output;
    Global<float4> partial;             // [split][block of outputs][tile][d][group][thread 256], or null where there is one split
    Global<const uint32_t> needed;      // for each tile whether it is computed, or null for all
    Global<uint32_t> overflow;
    Grid grid;
    uint32_t chunks, residual_chunks;
    uint32_t splits;
};
static_assert(sizeof(ConvF16Output) == 88, "src/cuda/conv_f16.rs has the same layout");

constexpr uint32_t CONV_F16_THREADS = 256;  // that hold sums

struct ConvF16Item {
    uint32_t tile, block, split;
    uint32_t first_pair, last_pair;  // of the pairs of input chunks, the last one not included
};

DEVICE ConvF16Item conv_f16_item(const ConvF16Output& a, uint32_t index, uint32_t blocks, uint32_t pairs) {
    ConvF16Item item;
    item.tile = index % a.grid.tiles();
    item.block = index / a.grid.tiles() % blocks;
    item.split = index / a.grid.tiles() / blocks;
    const uint32_t most = (pairs + a.splits - 1) / a.splits;
    item.first_pair = item.split * most;
    item.last_pair = min(item.first_pair + most, pairs);
    return item;
}

DEVICE size_t conv_f16_partial(const ConvF16Output& a, const ConvF16Item& item, uint32_t blocks, uint32_t groups, uint32_t d, uint32_t group) {
    const size_t place = (static_cast<size_t>(item.split) * blocks + item.block) * a.grid.tiles() + item.tile;
    return ((place * TILE_D + d) * groups + group) * CONV_F16_THREADS + thread_index();
}

// Bias, activation and residual of one fragment, rounded to f16. Whether a value does not fit.
DEVICE bool conv_f16_finish(const ConvF16Output& a, const Voxel& origin, uint32_t d, uint32_t chunk, const float sum[4]) {
    const uint32_t lane = thread_index() % 32, slot = chunk * CHUNK + 2 * (lane % 4);
    const uint32_t z = origin.d + d, y = origin.h + thread_index() / 32;
    if (chunk >= a.chunks || z >= a.grid.depth || y >= a.grid.height) return false;
    const size_t voxels = a.grid.voxels();
    const bool first = chunk < a.residual_chunks;
    const Global<const uint32_t> residual = first ? a.residual : a.residual_skip;
    const size_t residual_chunk = first ? chunk : chunk - a.residual_chunks;
    bool bad = false;
    UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
        const uint32_t x = origin.w + lane / 4 + 8 * half;
        if (x >= a.grid.width) continue;
        const size_t voxel = (static_cast<size_t>(z) * a.grid.height + y) * a.grid.width + x;
        float low = activate(sum[2 * half] + a.bias[slot], a.slopes[slot]);
        float high = activate(sum[2 * half + 1] + a.bias[slot + 1], a.slopes[slot + 1]);
        if (a.residual) {
            const uint32_t pair = residual[(residual_chunk * voxels + voxel) * 4 + lane % 4];
            low += low_half(pair);
            high += high_half(pair);
        }
        bad = bad || overflows(low) || overflows(high);
        a.output[(chunk * voxels + voxel) * 4 + lane % 4] = pack_half2(low, high);
    }
    return bad;
}

// Finishes or stores the sums of an item.
template <uint32_t GROUPS>
DEVICE void conv_f16_store(const ConvF16Output& a, const ConvF16Item& item, uint32_t blocks, const float (&sum)[TILE_D][4 * GROUPS]) {
    const Voxel origin = tile_origin(a.grid, item.tile);
    bool bad = false;
    UNROLL
    for (uint32_t group = 0; group < GROUPS; ++group) {
        UNROLL
        for (uint32_t d = 0; d < TILE_D; ++d) {
            const float* four = sum[d] + 4 * group;
            if (a.splits > 1) {
                a.partial[conv_f16_partial(a, item, blocks, GROUPS, d, group)] = float4{four[0], four[1], four[2], four[3]};
            } else {
                bad = conv_f16_finish(a, origin, d, item.block * GROUPS + group, four) || bad;
            }
        }
    }
    if (bad) raise_flag(a.overflow);
}
