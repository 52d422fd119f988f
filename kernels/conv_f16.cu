// conv_f16: convolution of stride 1, zero "same" padding, fused epilogue, on tensor cores; the fast grade on every architecture.
//   formula as conv_f32; products of halves, sums in f32, the result rounded to f16
// layout     activations blocked f16 [C/8][V][8]; the input is [input, skip] joined by chunks and read in place, so is the residual.
//            weights [N/32][C/16][kd][kh][kw][2][lane 32][8] f16: the b fragments of two pairs of 8 outputs, in the order of the
//            lanes (src/network/cuda/conv_f16.rs packs them)
// mapping    block = item of conv_f16_tile.cuh: a tile x 32 or 64 channels, 8 warps; warp = 4 rows of 16 voxels; m16n8k16 with m = the 16
//            voxels of a row, n = 8 outputs, k = 2 chunks of 8 inputs. A tap is a shift of the rows' addresses: ldmatrix takes any 16-byte
//            address.
// shared     two stages of 2 chunks x (8+kh-1) x 4 x (16+kw-1) words of 16 bytes (H, D, W): 61 KB at 5x5x5
// bound      a tap at 32 (64) channels: 16 (32) mma for 4 ldmatrix.x4 and 2 (4) 16-byte loads of weights (L1)
// tested by  tests/operations.rs
#pragma once
#include "conv_f16_tile.cuh"

struct ConvF16Arguments {
    ConvF16Output out;
    Global<const uint4> input;          // the first `input_chunks` chunks
    Global<const uint4> skip;           // the others
    Global<const uint4> weights;
    uint32_t kernel_depth, kernel_height;
    uint32_t input_chunks, chunks;
};
static_assert(sizeof(ConvF16Arguments) == 128, "src/network/cuda/conv_f16.rs has the same layout");

template <uint32_t KW, uint32_t GROUPS>
DEVICE void conv_f16(const ConvF16Arguments& a) {
    constexpr uint32_t PITCH = TILE_W + KW - 1;
    constexpr uint32_t BLOCKS_32 = GROUPS / 4;  // of 32 channels, as weights are packed
    const Grid grid = a.out.grid;
    const uint32_t pairs = (a.chunks + 1) / 2, blocks = (a.out.chunks + GROUPS - 1) / GROUPS;
    const ConvF16Item item = conv_f16_item(a.out, block_index(), blocks, pairs);
    if (a.out.needed && !a.out.needed[item.tile]) return;
    const Voxel origin = tile_origin(grid, item.tile);
    const uint32_t plane = (TILE_H + a.kernel_height - 1) * TILE_D * PITCH;
    const Shared<uint4> halo = shared_array<uint4>(0, 4 * plane);
    const size_t voxels = grid.voxels();
    const uint32_t steps = (item.last_pair - item.first_pair) * a.kernel_depth;
    const uint32_t lane = thread_index() % 32, warp = thread_index() / 32;

    // A step is one pair of chunks and one depth i of the kernel.
    uint32_t pair = item.first_pair, i = 0;  // of the next load
    auto load = [&](uint32_t stage) {
        for (uint32_t n = thread_index(); n < 2 * plane; n += CONV_F16_THREADS) {
            const bool second = n >= plane;
            const uint32_t chunk = 2 * pair + second, place = second ? n - plane : n;
            const uint32_t z = origin.d + place / PITCH % TILE_D + i - a.kernel_depth / 2;
            const uint32_t y = origin.h + place / PITCH / TILE_D - a.kernel_height / 2;
            const uint32_t x = origin.w + place % PITCH - KW / 2;
            // Coordinates before the grid wrap around to large numbers.
            const bool inside = chunk < a.chunks && z < grid.depth && y < grid.height && x < grid.width;
            const bool first = chunk < a.input_chunks;
            copy_async_16(halo, 2 * stage * plane + n, first ? a.input : a.skip,
                          (first ? chunk : chunk - a.input_chunks) * voxels + (static_cast<size_t>(z) * grid.height + y) * grid.width + x,
                          inside);
        }
        commit_async();
        if (++i == a.kernel_depth) {
            i = 0;
            ++pair;
        }
    };

    float sum[TILE_D][4 * GROUPS] = {};
    const uint32_t taps = a.kernel_height * KW;  // of a step
    const size_t next_block = static_cast<size_t>(pairs) * a.kernel_depth * taps * 64;
    size_t tap = (item.block * BLOCKS_32 * static_cast<size_t>(pairs) + item.first_pair) * a.kernel_depth * taps * 64 + lane;
    load(0);
    for (uint32_t step = 0; step < steps; ++step) {
        if (step + 1 < steps) {
            load((step + 1) % 2);
            wait_async<1>();
        } else {
            wait_async<0>();
        }
        sync_block();
        // Lanes 0 to 15 bring the rows of the first chunk, lanes 16 to 31 those of the second.
        const uint32_t from = (2 * (step % 2) + lane / 16) * plane + warp * TILE_D * PITCH + lane % 16;
        // Not unrolled: the registers do not suffice for the weights of several taps. Other warps hide the wait for them.
        UNROLL_BY(1)
        for (uint32_t j = 0; j < a.kernel_height; ++j) {
            UNROLL_BY(1)
            for (uint32_t k = 0; k < KW; ++k, tap += 64) {
                uint4 b[2 * BLOCKS_32];
                UNROLL
                for (uint32_t n = 0; n < 2 * BLOCKS_32; ++n) b[n] = a.weights[tap + n / 2 * next_block + n % 2 * 32];
                UNROLL
                for (uint32_t d = 0; d < TILE_D; ++d) {
                    uint32_t x[4];
                    load_matrix_x4(x, halo, from + (j * TILE_D + d) * PITCH + k);
                    UNROLL
                    for (uint32_t n = 0; n < 2 * BLOCKS_32; ++n) {
                        mma_m16n8k16(sum[d] + 8 * n, x, b[n].x, b[n].y);
                        mma_m16n8k16(sum[d] + 8 * n + 4, x, b[n].z, b[n].w);
                    }
                }
            }
        }
        sync_block();
    }
    conv_f16_store<GROUPS>(a.out, item, blocks, sum);
}

#define CONV_F16(width)                                                          \
    KERNEL_FOR(conv_f16_w##width##_n32, ConvF16Arguments, CONV_F16_THREADS, 2) { \
        conv_f16<width, 4>(a);                                                   \
    }                                                                            \
    KERNEL(conv_f16_w##width##_n64, ConvF16Arguments, CONV_F16_THREADS) {        \
        conv_f16<width, 8>(a);                                                   \
    }
CONV_F16(1)
CONV_F16(3)
CONV_F16(5)
CONV_F16(7)
#undef CONV_F16
