// What the convolutions of the fast grade share: which part of the work a block does, and what becomes of its sums.
//
// The work is cut in items: a tile of 4x8x16 voxels, a block of output channels and a part of the input channels ("split"). The sums of an
// item are held by 8 warps: warp h has the 4 rows (d, h) of the tile, in fragments of m16n8k16: m = the 16 voxels of a row, n = a group of 8
// channels. sum[d][4 g + r] is register r of group g: voxel lane / 4 + 8 (r / 2), channel 2 (lane % 4) + r % 2.
// With one split the sums are finished at once; with several each is stored and sum_f16 finishes them, in the order of the splits.
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
static_assert(sizeof(ConvF16Output) == 88, "src/network/cuda/conv_f16.rs has the same layout");

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

// The first partial sum of an item's first fragment in this thread; the others follow at CONV_F16_THREADS.
DEVICE size_t conv_f16_partial(const ConvF16Output& a, const ConvF16Item& item, uint32_t blocks, uint32_t groups) {
    const size_t place = (static_cast<size_t>(item.split) * blocks + item.block) * a.grid.tiles() + item.tile;
    return place * TILE_D * groups * CONV_F16_THREADS + thread_index();
}

// Whether the voxel of row d and half of a fragment is inside of the grid, and which it is.
DEVICE bool conv_f16_voxel(size_t& voxel, const Grid& grid, const Voxel& origin, uint32_t d, uint32_t half) {
    const uint32_t z = origin.d + d, y = origin.h + thread_index() / 32, x = origin.w + thread_index() % 32 / 4 + 8 * half;
    voxel = (static_cast<size_t>(z) * grid.height + y) * grid.width + x;
    return z < grid.depth && y < grid.height && x < grid.width;
}

// A chunk of the output: its first words in what is added to it and in the output, and this thread's two channels' bias and slopes.
struct ConvF16Chunk {
    Global<const uint32_t> residual;
    size_t from, to;
    float bias[2], slopes[2];
};

DEVICE ConvF16Chunk conv_f16_chunk(const ConvF16Output& a, uint32_t chunk) {
    const size_t voxels = a.grid.voxels();
    const uint32_t pair = thread_index() % 4, slot = chunk * CHUNK + 2 * pair;
    const bool first = chunk < a.residual_chunks;
    return {first ? a.residual : a.residual_skip,
            (first ? chunk : chunk - a.residual_chunks) * voxels * 4 + pair,
            chunk * voxels * 4 + pair,
            {a.bias[slot], a.bias[slot + 1]},
            {a.slopes[slot], a.slopes[slot + 1]}};
}

// Bias, activation and residual of two channels of a voxel, rounded to f16. Whether one does not fit.
DEVICE bool conv_f16_finish(const ConvF16Output& a, const ConvF16Chunk& chunk, size_t voxel, float low, float high, uint32_t residual) {
    low = activate(low + chunk.bias[0], chunk.slopes[0]) + low_half(residual);
    high = activate(high + chunk.bias[1], chunk.slopes[1]) + high_half(residual);
    a.output[chunk.to + voxel * 4] = pack_half2(low, high);
    return overflows(low) || overflows(high);
}

// Finishes or stores the sums of an item.
template <uint32_t GROUPS>
DEVICE void conv_f16_store(const ConvF16Output& a, const ConvF16Item& item, uint32_t blocks, const float (&sum)[TILE_D][4 * GROUPS]) {
    if (a.splits > 1) {
        const size_t partial = conv_f16_partial(a, item, blocks, GROUPS);
        UNROLL
        for (uint32_t n = 0; n < TILE_D * GROUPS; ++n) {
            const float* four = sum[n / GROUPS] + 4 * (n % GROUPS);
            a.partial[partial + n * CONV_F16_THREADS] = float4{four[0], four[1], four[2], four[3]};
        }
        return;
    }
    const Voxel origin = tile_origin(a.grid, item.tile);
    size_t voxel[2 * TILE_D];
    bool inside[2 * TILE_D], bad = false;
    UNROLL
    for (uint32_t n = 0; n < 2 * TILE_D; ++n) inside[n] = conv_f16_voxel(voxel[n], a.grid, origin, n / 2, n % 2);
    UNROLL
    for (uint32_t group = 0; group < GROUPS; ++group) {
        if (item.block * GROUPS + group >= a.chunks) break;
        const ConvF16Chunk chunk = conv_f16_chunk(a, item.block * GROUPS + group);
        // All residuals of a chunk are asked for before the first one is waited for.
        uint32_t residual[2 * TILE_D] = {};
        if (a.residual) {
            UNROLL
            for (uint32_t n = 0; n < 2 * TILE_D; ++n) {
                if (inside[n]) residual[n] = chunk.residual[chunk.from + voxel[n] * 4];
            }
        }
        UNROLL
        for (uint32_t n = 0; n < 2 * TILE_D; ++n) {
            if (!inside[n]) continue;
            const float* two = sum[n / 2] + 4 * group + 2 * (n % 2);
            bad = conv_f16_finish(a, chunk, voxel[n], two[0], two[1], residual[n]) || bad;
        }
    }
    if (bad) raise_flag(a.overflow);
}
