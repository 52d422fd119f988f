// conv_f16_sm90: what conv_f16 computes, by wgmma and TMA, for compute capability 9.0.
// layout     activations blocked f16 [C/8][V][8], copied by TMA as tensors (8 W, H, D, C/8): coordinates outside give the padding's zeros.
//            weights [N/n][C/16][kh][kw][kd][2][n/8][8 outputs][8 inputs] f16, n = 32 or 64: a tap is a 16xn matrix b in shared memory,
//            made of core matrices with no swizzle (src/network/cuda/conv_f16.rs packs them)
// mapping    block = items of conv_f16_tile.cuh, one after another; two warpgroups multiply, one thread of a third copies.
//            m64nNk16: m = 4 rows of 16 voxels, one a warp; k = 2 chunks of 8 inputs. A plane z of the input is read for each tap (j, k) once
//            (ldmatrix at a shifted address) and multiplied for each output plane d of the tile, with the weights of depth i = z - d.
// shared     mbarriers; two stages of the input: 2 chunks x (4+kd-1) x (8+kh-1) x (16+kw-1) words of 16 bytes (61 KB at 5x5x5); stages of a
//            kernel row of weights (kw kd 32 n bytes: 26 or 51 KB). A stage has an mbarrier that says "full" and one that says "free".
// bound      tensor cores: a tap (j, k) at 5x5x5, 32 channels and a warpgroup: 20 wgmma of 16 clocks = 320; shared memory: 8 fragments of 2 KB
//            and 20 matrices of 1 KB at 128 bytes a clock = 288
// tested by  tests/operations.rs
#pragma once
#include "conv_f16_tile.cuh"

#if !defined(__CUDACC__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
struct ConvF16Sm90Arguments {
    TensorMap input;            // the first `input_chunks` chunks
    TensorMap skip;             // the others
    ConvF16Output out;
    Global<const uint4> weights;
    uint32_t kernel_height, kernel_width;
    uint32_t input_chunks, chunks;
    uint32_t weight_stages;
    uint32_t padding[3];
};
static_assert(sizeof(ConvF16Sm90Arguments) == 384, "src/network/cuda/conv_f16.rs has the same layout");

constexpr uint32_t CONV_F16_SM90_THREADS = CONV_F16_THREADS + 128;
constexpr uint32_t INPUT_STAGES = 2, MOST_WEIGHT_STAGES = 4;

// Where a ring of stages is.
struct Ring {
    uint32_t stages, stage = 0, parity = 0;
    DEVICE void advance() {
        if (++stage < stages) return;
        stage = 0;
        parity ^= 1;
    }
};

template <uint32_t KD, uint32_t GROUPS>
DEVICE void conv_f16_sm90(const ConvF16Sm90Arguments& a) {
    constexpr uint32_t PLANES = TILE_D + KD - 1;
    constexpr uint32_t MATRIX = 2 * GROUPS * 8;  // words of 16 bytes of a tap's weights
    // mbarriers: for each stage of a ring whether it is full, and whether it is free.
    constexpr uint32_t INPUT_FULL = 0, INPUT_FREE = INPUT_STAGES, WEIGHTS_FULL = 2 * INPUT_STAGES, WEIGHTS_FREE = WEIGHTS_FULL + MOST_WEIGHT_STAGES;
    constexpr uint32_t MBARRIERS = WEIGHTS_FREE + MOST_WEIGHT_STAGES, MBARRIER_BYTES = 128;
    static_assert(MBARRIERS * 8 <= MBARRIER_BYTES, "the input begins at a multiple of 128 bytes");
    const uint32_t rows = TILE_H + a.kernel_height - 1, pitch = TILE_W + a.kernel_width - 1;
    const uint32_t chunk_words = PLANES * rows * pitch, row_words = a.kernel_width * KD * MATRIX;
    const Shared<uint64_t> barriers = shared_array<uint64_t>(0, MBARRIERS);
    const Shared<uint4> halo = shared_array<uint4>(MBARRIER_BYTES, 2 * INPUT_STAGES * chunk_words);
    const Shared<uint4> weights = shared_array<uint4>(MBARRIER_BYTES + 32 * INPUT_STAGES * chunk_words, a.weight_stages * row_words);
    const uint32_t lane = thread_index() % 32, warp = thread_index() / 32;
    const uint32_t pairs = (a.chunks + 1) / 2, blocks = (a.out.chunks + GROUPS - 1) / GROUPS;
    const uint32_t items = a.out.grid.tiles() * blocks * a.out.splits;

    if (thread_index() == 0) {
        for (uint32_t n = 0; n < INPUT_STAGES; ++n) {
            mbarrier_init(barriers, INPUT_FULL + n, 1);
            mbarrier_init(barriers, INPUT_FREE + n, CONV_F16_THREADS / 32);
        }
        for (uint32_t n = 0; n < a.weight_stages; ++n) {
            mbarrier_init(barriers, WEIGHTS_FULL + n, 1);
            mbarrier_init(barriers, WEIGHTS_FREE + n, CONV_F16_THREADS / 32);
        }
        fence_proxy_async();
    }
    sync_block();

    Ring input_ring{INPUT_STAGES}, weight_ring{a.weight_stages};
    // Of 168 registers a thread, what 384 threads may have: 128 * 40 + 256 * 232 <= 384 * 168.
    if (thread_index() >= CONV_F16_THREADS) {
        fewer_registers<40>();
        if (thread_index() > CONV_F16_THREADS) return;
        for (uint32_t index = block_index(); index < items; index += grid_blocks()) {
            const ConvF16Item item = conv_f16_item(a.out, index, blocks, pairs);
            if (a.out.needed && !a.out.needed[item.tile]) continue;
            const Voxel origin = tile_origin(a.out.grid, item.tile);
            for (uint32_t pair = item.first_pair; pair < item.last_pair; ++pair) {
                mbarrier_wait(barriers, INPUT_FREE + input_ring.stage, input_ring.parity ^ 1);
                mbarrier_arrive_expect(barriers, INPUT_FULL + input_ring.stage, 32 * chunk_words);
                for (uint32_t half = 0; half < 2; ++half) {
                    // A chunk past the last is outside of its tensor.
                    const uint32_t chunk = 2 * pair + half;
                    const bool first = chunk < a.input_chunks || a.chunks == a.input_chunks;
                    copy_tensor(halo, (2 * input_ring.stage + half) * chunk_words, first ? a.input : a.skip,
                                static_cast<int32_t>(CHUNK * (origin.w - a.kernel_width / 2)), static_cast<int32_t>(origin.h - a.kernel_height / 2),
                                static_cast<int32_t>(origin.d - KD / 2), static_cast<int32_t>(first ? chunk : chunk - a.input_chunks), barriers,
                                INPUT_FULL + input_ring.stage);
                }
                input_ring.advance();
                for (uint32_t j = 0; j < a.kernel_height; ++j) {
                    mbarrier_wait(barriers, WEIGHTS_FREE + weight_ring.stage, weight_ring.parity ^ 1);
                    mbarrier_arrive_expect(barriers, WEIGHTS_FULL + weight_ring.stage, 16 * row_words);
                    const size_t row = (static_cast<size_t>(item.block) * pairs + pair) * a.kernel_height + j;
                    copy_bulk(weights, weight_ring.stage * row_words, a.weights, row * row_words, row_words, barriers,
                              WEIGHTS_FULL + weight_ring.stage);
                    weight_ring.advance();
                }
            }
        }
        return;
    }

    more_registers<232>();
    float sum[TILE_D][4 * GROUPS];
    // The planes of a tap's input: those of the next tap are loaded while those of one are multiplied.
    uint32_t x[2][PLANES][4];
    for (uint32_t index = block_index(); index < items; index += grid_blocks()) {
        const ConvF16Item item = conv_f16_item(a.out, index, blocks, pairs);
        if (a.out.needed && !a.out.needed[item.tile]) continue;
        UNROLL
        for (uint32_t d = 0; d < TILE_D; ++d) {
            UNROLL
            for (uint32_t n = 0; n < 4 * GROUPS; ++n) sum[d][n] = 0.0f;
        }
        for (uint32_t pair = item.first_pair; pair < item.last_pair; ++pair) {
            mbarrier_wait(barriers, INPUT_FULL + input_ring.stage, input_ring.parity);
            // Lanes 0 to 15 bring the rows of the first chunk, lanes 16 to 31 those of the second.
            const uint32_t from = (2 * input_ring.stage + lane / 16) * chunk_words + warp * pitch + lane % 16;
            uint32_t j = 0, k = 0, finished_row = 0;
            uint64_t matrices = 0;
            auto load = [&](uint32_t (&planes)[PLANES][4]) {
                UNROLL
                for (uint32_t z = 0; z < PLANES; ++z) load_matrix_x4(planes[z], halo, from + (z * rows + j) * pitch + k);
            };
            auto multiply = [&](const uint32_t (&planes)[PLANES][4], uint32_t (&next)[PLANES][4]) {
                const bool new_row = k == 0;
                if (new_row) {
                    mbarrier_wait(barriers, WEIGHTS_FULL + weight_ring.stage, weight_ring.parity);
                    matrices = matrix_descriptor(weights, weight_ring.stage * row_words, 128 * GROUPS, 128);
                }
                wgmma_fence();
                UNROLL
                for (uint32_t i = 0; i < KD; ++i) {
                    UNROLL
                    for (uint32_t d = 0; d < TILE_D; ++d) {
                        // A descriptor's address counts words of 16 bytes.
                        wgmma_m64k16(sum[d], planes[d + i], matrices + (k * KD + i) * MATRIX);
                    }
                }
                wgmma_commit();
                // The tap before is done: its registers are free, and the row of weights that it ended.
                wgmma_wait<1>();
                if (new_row && j > 0) {
                    sync_warp();
                    if (lane == 0) mbarrier_arrive(barriers, WEIGHTS_FREE + finished_row);
                }
                if (++k == a.kernel_width) {
                    k = 0;
                    ++j;
                    finished_row = weight_ring.stage;
                    weight_ring.advance();
                }
                if (j < a.kernel_height) load(next);
            };
            load(x[0]);
            // A kernel's sides are odd, so its number of taps is: the last one is of x[0].
            while (true) {
                multiply(x[0], x[1]);
                if (j == a.kernel_height) break;
                multiply(x[1], x[0]);
            }
            wgmma_wait<0>();
            sync_warp();
            if (lane == 0) {
                mbarrier_arrive(barriers, WEIGHTS_FREE + finished_row);
                mbarrier_arrive(barriers, INPUT_FREE + input_ring.stage);
            }
            input_ring.advance();
        }
        UNROLL
        for (uint32_t d = 0; d < TILE_D; ++d) settle_registers(sum[d]);
        conv_f16_store<GROUPS>(a.out, item, blocks, sum);
    }
}

#define CONV_F16_SM90(depth)                                                               \
    KERNEL_FOR(conv_f16_sm90_d##depth##_n32, ConvF16Sm90Arguments, CONV_F16_SM90_THREADS, 1) {\
        conv_f16_sm90<depth, 4>(a);                                                        \
    }                                                                                      \
    KERNEL_FOR(conv_f16_sm90_d##depth##_n64, ConvF16Sm90Arguments, CONV_F16_SM90_THREADS, 1) {\
        conv_f16_sm90<depth, 8>(a);                                                        \
    }
CONV_F16_SM90(1)
CONV_F16_SM90(3)
CONV_F16_SM90(5)
#undef CONV_F16_SM90
#endif
