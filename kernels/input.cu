// input_f16: the network's first layer for the fast grade, on tensor cores: from the planar f32 scan, one channel, to blocked f16.
//   y[n, v] = act(bias[n] + sum over i, j, k of weight[i, j, k, n] * x[v + (i, j, k) - kernel/2]) + x[v]
//   x and weights rounded to f16 in the products, sums in f32, the x that is added as it is
// layout     x f32 [V]; weights f16 [N/16][kd kh / 2][lane 32][8]: 16 of depth are two rows of taps of 8 along W, zeros past kw
//            (src/network/cuda/input.rs packs them); y blocked f16 [N/8][V][8]
// mapping    block = a tile x 16 outputs (block_index_y), 8 warps; warp = 4 rows of 16 voxels. A voxel's 8 inputs along W begin at any voxel,
//            but a register holds two at an even one: so shared memory has each row twice, once shifted by a voxel
// shared     (4+kd-1) x (8+kh-1) rows of 2 x 12 words of two halves: 9 KB at 5x5x5
// bound      issue: 13 steps of 16 loads and 8 mma a warp at 5x5x5, and more than that to fill the tile; memory (32 bytes a voxel on the way out) is
//            a ninth of it
// tested by  tests/operations.rs
#pragma once
#include "conv_f16_tile.cuh"

struct InputArguments {
    Global<const float> input;
    Global<const uint4> weights;
    Global<const float> bias;    // N, padded to a multiple of 16
    Global<const float> slopes;  // likewise
    Global<uint32_t> output;     // pairs of halves
    Global<uint32_t> overflow;
    Grid grid;
    uint32_t kernel[3];
    uint32_t outputs;
    uint32_t padding;
};
static_assert(sizeof(InputArguments) == 80, "src/network/cuda/input.rs has the same layout");

KERNEL(input_f16, InputArguments, CONV_F16_THREADS) {
    constexpr uint32_t WORDS = 12;  // of a row: voxels 2 n and 2 n + 1, and once more 2 n + 1 and 2 n + 2
    const Grid grid = a.grid;
    const Voxel origin = tile_origin(grid, block_index());
    const uint32_t planes = TILE_D + a.kernel[0] - 1, rows = TILE_H + a.kernel[1] - 1;
    const Shared<uint32_t> halo = shared_array<uint32_t>(0, planes * rows * 2 * WORDS);
    for (uint32_t n = thread_index(); n < planes * rows * 2 * WORDS; n += CONV_F16_THREADS) {
        const uint32_t row = n / (2 * WORDS), first = n % WORDS * 2 + n / WORDS % 2;
        const uint32_t z = origin.d + row / rows - a.kernel[0] / 2, y = origin.h + row % rows - a.kernel[1] / 2;
        float two[2];
        UNROLL
        for (uint32_t v = 0; v < 2; ++v) {
            const uint32_t x = origin.w + first + v - a.kernel[2] / 2;
            // Coordinates before the grid wrap around to large numbers. Past the taps' reach weights are 0.
            const bool inside = z < grid.depth && y < grid.height && x < grid.width;
            two[v] = inside ? a.input[(static_cast<size_t>(z) * grid.height + y) * grid.width + x] : 0.0f;
        }
        halo[n] = pack_half2(two[0], two[1]);
    }
    sync_block();

    const uint32_t lane = thread_index() % 32, warp = thread_index() / 32, voxel_of_lane = lane / 4;
    const uint32_t from = warp * 2 * WORDS + voxel_of_lane % 2 * WORDS + voxel_of_lane / 2 + lane % 4, plane = rows * 2 * WORDS;
    const uint32_t row_taps = a.kernel[0] * a.kernel[1], steps = (row_taps + 1) / 2;
    auto row_words = [&](uint32_t tap) { return (tap / a.kernel[1] * rows + tap % a.kernel[1]) * 2 * WORDS; };
    float sum[TILE_D][2][4] = {};
    for (uint32_t step = 0; step < steps; ++step) {
        const uint4 b = a.weights[(static_cast<size_t>(block_index_y()) * steps + step) * 32 + lane];
        // Of an odd number of rows the last one's partner has weights of 0.
        const uint32_t first = from + row_words(2 * step), second = from + row_words(min(2 * step + 1, row_taps - 1));
        UNROLL
        for (uint32_t d = 0; d < TILE_D; ++d) {
            // The registers of a fragment: voxels lane / 4 and 8 further of the first row of taps, then of the second.
            const uint32_t x[4] = {halo[first + d * plane], halo[first + d * plane + 4], halo[second + d * plane], halo[second + d * plane + 4]};
            mma_m16n8k16(sum[d][0], x, b.x, b.y);
            mma_m16n8k16(sum[d][1], x, b.z, b.w);
        }
    }

    bool bad = false;
    UNROLL
    for (uint32_t n = 0; n < 2 * TILE_D; ++n) {
        size_t voxel;
        if (!conv_f16_voxel(voxel, grid, origin, n / 2, n % 2)) continue;
        const float x = a.input[voxel];
        UNROLL
        for (uint32_t group = 0; group < 2; ++group) {
            const uint32_t chunk = block_index_y() * 2 + group, channel = chunk * CHUNK + lane % 4 * 2;
            if (chunk * CHUNK >= a.outputs) continue;
            const float* two = sum[n / 2][group] + n % 2 * 2;
            const float low = activate(two[0] + a.bias[channel], a.slopes[channel]) + x;
            const float high = channel + 1 < a.outputs ? activate(two[1] + a.bias[channel + 1], a.slopes[channel + 1]) + x : 0.0f;
            const uint32_t pair = channel < a.outputs ? pack_half2(low, high) : 0;
            a.output[(chunk * grid.voxels() + voxel) * 4 + lane % 4] = pair;
            bad = bad || overflows(low) || overflows(high);
        }
    }
    if (bad) raise_flag(a.overflow);
}
