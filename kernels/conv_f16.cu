// conv_f16: convolution of stride 1, zero "same" padding, fused epilogue, on tensor cores; the fast grade.
//   formula as conv_f32; products of halves, sums in f32, the result rounded to f16
// layout     activations blocked f16 [C/8][V][8]; the input is [input, skip] joined by chunks and read in place, so is the residual.
//            weights [N/32][C/16][kd][kh][kw][2][lane 32][8] f16: the b fragments of two pairs of 8 outputs, in the order of the
//            lanes (src/cuda/conv_f16.rs packs them)
// mapping    block = tile of 4x8x16 voxels x 32 channels, 8 warps; warp = 4 rows of 16 voxels; m16n8k16 with m = the 16 voxels of a row,
//            n = 8 outputs, k = 2 chunks of 8 inputs. A tap is a shift of the rows' addresses: ldmatrix takes any 16-byte address.
// shared     two stages of 2 chunks x 4 x (8+kh-1) x (16+kw-1) words of 16 bytes: 61 KB at 5x5x5
// bound      tensor cores: 16 mma for 4 ldmatrix.x4 and 2 16-byte loads of weights (L1)
// tested by  tests/kernels.rs
#pragma once
#include "common.cuh"

struct ConvF16Arguments {
    Global<const uint4> input;          // the first `input_chunks` chunks
    Global<const uint4> skip;           // the others
    Global<const uint4> weights;
    Global<const float> bias;           // for each slot of the output, padded to a multiple of 32
    Global<const float> slopes;         // likewise
    Global<const uint32_t> residual;    // pairs of halves: the first `residual_chunks` chunks, or null
    Global<const uint32_t> residual_skip;
    Global<uint32_t> output;
    Global<const uint32_t> needed;      // for each tile whether it is computed, or null for all
    Global<uint32_t> overflow;
    Grid grid;
    uint32_t kernel_depth, kernel_height;
    uint32_t input_chunks, chunks, output_chunks, residual_chunks;
    uint32_t padding;
};
static_assert(sizeof(ConvF16Arguments) == 120, "src/cuda/conv_f16.rs has the same layout");

constexpr uint32_t CONV_F16_THREADS = 256;

template <int KW>
DEVICE void conv_f16(const ConvF16Arguments& a) {
    if (a.needed && !a.needed[block_index()]) return;
    constexpr uint32_t PITCH = TILE_W + KW - 1;
    const Voxel origin = tile_origin(a.grid, block_index());
    const uint32_t rows = TILE_H + a.kernel_height - 1;
    const uint32_t plane = TILE_D * rows * PITCH;
    const Shared<uint4> halo = shared_array<uint4>(0, 4 * plane);
    const size_t voxels = a.grid.voxels();
    const uint32_t pairs = (a.chunks + 1) / 2, steps = pairs * a.kernel_depth;
    const uint32_t lane = thread_index() % 32, warp = thread_index() / 32;
    const uint32_t warp_d = warp / 2, warp_h = warp % 2 * 4;

    // A step is one pair of chunks and one depth i of the kernel.
    auto load = [&](uint32_t step) {
        const uint32_t pair = step / a.kernel_depth, i = step % a.kernel_depth, stage = step % 2;
        for (uint32_t n = thread_index(); n < 2 * plane; n += CONV_F16_THREADS) {
            const uint32_t chunk = 2 * pair + n / plane, place = n % plane;
            const uint32_t z = origin.d + place / PITCH / rows + i - a.kernel_depth / 2;
            const uint32_t y = origin.h + place / PITCH % rows - a.kernel_height / 2;
            const uint32_t x = origin.w + place % PITCH - KW / 2;
            // Coordinates before the grid wrap around to large numbers.
            const bool inside = chunk < a.chunks && z < a.grid.depth && y < a.grid.height && x < a.grid.width;
            const bool first = chunk < a.input_chunks;
            copy_async_16(halo, 2 * stage * plane + n, first ? a.input : a.skip,
                          (first ? chunk : chunk - a.input_chunks) * voxels +
                              (static_cast<size_t>(z) * a.grid.height + y) * a.grid.width + x,
                          inside);
        }
        commit_async();
    };

    float sum[4][4][4] = {};  // row, group of 8 outputs, register of the fragment
    load(0);
    for (uint32_t step = 0; step < steps; ++step) {
        if (step + 1 < steps) {
            load(step + 1);
            wait_async<1>();
        } else {
            wait_async<0>();
        }
        sync_block();
        // Lanes 0 to 15 bring the rows of the first chunk, lanes 16 to 31 those of the second.
        const uint32_t from = (2 * (step % 2) + lane / 16) * plane + (warp_d * rows + warp_h) * PITCH + lane % 16;
        size_t tap = (static_cast<size_t>(block_index_y()) * steps + step) * a.kernel_height * KW * 64 + lane;
        for (uint32_t j = 0; j < a.kernel_height; ++j) {
            UNROLL
            for (uint32_t k = 0; k < KW; ++k, tap += 64) {
                const uint4 b01 = a.weights[tap], b23 = a.weights[tap + 32];
                UNROLL
                for (uint32_t m = 0; m < 4; ++m) {
                    uint32_t x[4];
                    load_matrix_x4(x, halo, from + (m + j) * PITCH + k);
                    mma_m16n8k16(sum[m][0], x, b01.x, b01.y);
                    mma_m16n8k16(sum[m][1], x, b01.z, b01.w);
                    mma_m16n8k16(sum[m][2], x, b23.x, b23.y);
                    mma_m16n8k16(sum[m][3], x, b23.z, b23.w);
                }
            }
        }
        sync_block();
    }

    // Register r of a fragment: voxel lane / 4 + 8 (r / 2), channel 2 (lane % 4) + r % 2.
    bool bad = false;
    const uint32_t d = origin.d + warp_d;
    UNROLL
    for (uint32_t n = 0; n < 4; ++n) {
        const uint32_t chunk = block_index_y() * 4 + n, slot = chunk * CHUNK + 2 * (lane % 4);
        if (chunk >= a.output_chunks) continue;
        const bool first = chunk < a.residual_chunks;
        const Global<const uint32_t> residual = first ? a.residual : a.residual_skip;
        const size_t residual_chunk = first ? chunk : chunk - a.residual_chunks;
        UNROLL
        for (uint32_t m = 0; m < 4; ++m) {
            UNROLL
            for (uint32_t half = 0; half < 2; ++half) {
                const uint32_t h = origin.h + warp_h + m, w = origin.w + lane / 4 + 8 * half;
                if (d >= a.grid.depth || h >= a.grid.height || w >= a.grid.width) continue;
                const size_t voxel = (static_cast<size_t>(d) * a.grid.height + h) * a.grid.width + w;
                float low = activate(sum[m][n][2 * half] + a.bias[slot], a.slopes[slot]);
                float high = activate(sum[m][n][2 * half + 1] + a.bias[slot + 1], a.slopes[slot + 1]);
                if (a.residual) {
                    const uint32_t pair = residual[(residual_chunk * voxels + voxel) * 4 + lane % 4];
                    low += low_half(pair);
                    high += high_half(pair);
                }
                bad = bad || overflows(low) || overflows(high);
                a.output[(chunk * voxels + voxel) * 4 + lane % 4] = pack_half2(low, high);
            }
        }
    }
    if (bad) raise_flag(a.overflow);
}

KERNEL(conv_f16_w1, ConvF16Arguments, CONV_F16_THREADS) {
    conv_f16<1>(a);
}
KERNEL(conv_f16_w3, ConvF16Arguments, CONV_F16_THREADS) {
    conv_f16<3>(a);
}
KERNEL(conv_f16_w5, ConvF16Arguments, CONV_F16_THREADS) {
    conv_f16<5>(a);
}
KERNEL(conv_f16_w7, ConvF16Arguments, CONV_F16_THREADS) {
    conv_f16<7>(a);
}
