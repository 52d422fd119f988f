// conv_f32: convolution of stride 1, zero "same" padding, fused epilogue; the exact grade.
//   y[n, d, h, w] = act(bias[n] + sum over c, i, j, k of weight[i, j, k, c, n] * x[c, d+i-kd/2, h+j-kh/2, w+k-kw/2]) (+ residual[n, d, h, w])
//   x is [input, skip] joined along the channels and read in place; so is the residual.
// layout     activations planar f32 [C][D][H][W]; weights [N/32][C][kd][kh][kw][32] f32, zeros past N (src/network/cuda/conv.rs packs them)
// mapping    block = tile of 4x8x16 voxels x 32 channels x a part of the input channels ("split"), 256 threads; thread = 8 voxels along W x 8
//            channels in registers; the 32 lanes of a warp share their channels, so weights are broadcast from shared memory
//            With several splits each stores its sums, and sum_f32 (sum.cu) finishes them.
// shared     two stages of one input plane set and its taps: (4 x (8+kh-1) rows of 16+kw-1, rounded up to 4, and kh kw 32 weights) f32
// bound      FMA pipe: 64 kw FMA for 2 kw + (8+kw-1)/4 16-byte loads from shared memory
// tested by  tests/operations.rs on the emulated device and on CUDA
#pragma once
#include "common.cuh"

struct ConvArguments {
    Global<const float> input;      // the first `input_channels` channels
    Global<const float> skip;       // the others
    Global<const float4> weights;
    Global<const float> bias;       // N, padded to a multiple of 32
    Global<const float> slopes;     // likewise
    Global<const float> residual;   // the first `residual_channels` channels, or null
    Global<const float> residual_skip;
    Global<float> output;
    Global<float> partial;          // [split][N][V], or null where there is one split
    Global<const uint32_t> needed;  // for each tile whether it is computed, or null for all
    Grid grid;
    uint32_t kernel_depth, kernel_height;
    uint32_t input_channels, channels, outputs, residual_channels;
    uint32_t residual_is_shared;    // 1: the residual has one channel, which is added to all
    uint32_t splits;
    uint32_t padding;
};
static_assert(sizeof(ConvArguments) == 128, "src/network/cuda/conv.rs has the same layout");

constexpr uint32_t CONV_THREADS = 256;
constexpr uint32_t CONV_OUTPUTS = 32;  // channels of a block
constexpr uint32_t CONV_ROW = 8;       // voxels of a thread, along W

// The sums of a thread: voxel (d, h, w .. w+7) and channels first .. first+7.
struct ConvThread {
    uint32_t d, h, w, group;
    DEVICE ConvThread() {
        uint32_t place = thread_index() % 64;
        w = place % 2 * CONV_ROW;
        h = place / 2 % TILE_H;
        d = place / 2 / TILE_H;
        group = thread_index() / 64;
    }
};

template <int KW>
DEVICE void conv_accumulate(float sum[CHUNK][CONV_ROW], const ConvArguments& a, const Voxel& origin, uint32_t output_block, uint32_t split) {
    constexpr uint32_t SEGMENT = (CONV_ROW + KW - 1 + 3) / 4 * 4;  // inputs of a thread's row
    constexpr uint32_t PITCH = CONV_ROW + SEGMENT;                 // of a row of the tile
    const uint32_t rows = TILE_H + a.kernel_height - 1;
    const uint32_t plane = TILE_D * rows * PITCH;
    const uint32_t taps = a.kernel_height * KW * CONV_OUTPUTS;
    const Shared<float> halo = shared_array<float>(0, 2 * plane);
    const Shared<float4> halo4 = shared_array<float4>(0, 2 * plane / 4);
    const Shared<float4> weights = shared_array<float4>(2 * plane * 4, 2 * taps / 4);
    const size_t voxels = a.grid.voxels();
    const uint32_t steps = a.channels * a.kernel_depth;
    const uint32_t most = (a.channels + a.splits - 1) / a.splits;  // channels of a split
    const uint32_t first_step = split * most * a.kernel_depth, last_step = min(first_step + most * a.kernel_depth, steps);
    const ConvThread self;

    // A step is one input channel c and one depth i of the kernel.
    auto load = [&](uint32_t step) {
        const uint32_t c = step / a.kernel_depth, i = step % a.kernel_depth, stage = step % 2;
        const bool first = c < a.input_channels;
        const Global<const float> source = first ? a.input : a.skip;
        const size_t channel = (first ? c : c - a.input_channels) * voxels;
        for (uint32_t n = thread_index(); n < plane; n += CONV_THREADS) {
            const uint32_t z = origin.d + n / PITCH / rows + i - a.kernel_depth / 2;
            const uint32_t y = origin.h + n / PITCH % rows - a.kernel_height / 2;
            const uint32_t x = origin.w + n % PITCH - KW / 2;
            // Coordinates before the grid wrap around to large numbers.
            const bool inside = z < a.grid.depth && y < a.grid.height && x < a.grid.width;
            copy_async_4(halo, stage * plane + n, source, channel + (static_cast<size_t>(z) * a.grid.height + y) * a.grid.width + x, inside);
        }
        const size_t from = (static_cast<size_t>(output_block) * steps + step) * taps / 4;
        for (uint32_t n = thread_index(); n < taps / 4; n += CONV_THREADS) {
            copy_async_16(weights, stage * taps / 4 + n, a.weights, from + n, true);
        }
        commit_async();
    };

    load(first_step);
    for (uint32_t step = first_step; step < last_step; ++step) {
        if (step + 1 < last_step) {
            load(step + 1);
            wait_async<1>();
        } else {
            wait_async<0>();
        }
        sync_block();
        const uint32_t stage = step % 2;
        for (uint32_t j = 0; j < a.kernel_height; ++j) {
            float x[SEGMENT];
            const uint32_t row = ((stage * TILE_D + self.d) * rows + self.h + j) * PITCH + self.w;
            UNROLL
            for (uint32_t q = 0; q < SEGMENT / 4; ++q) {
                const float4 four = halo4[row / 4 + q];
                x[4 * q] = four.x;
                x[4 * q + 1] = four.y;
                x[4 * q + 2] = four.z;
                x[4 * q + 3] = four.w;
            }
            UNROLL
            for (uint32_t k = 0; k < KW; ++k) {
                const uint32_t tap = (stage * taps + (j * KW + k) * CONV_OUTPUTS + self.group * CHUNK) / 4;
                const float4 low = weights[tap], high = weights[tap + 1];
                const float w[CHUNK] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
                UNROLL
                for (uint32_t n = 0; n < CHUNK; ++n) {
                    UNROLL
                    for (uint32_t v = 0; v < CONV_ROW; ++v) sum[n][v] = multiply_add(w[n], x[v + k], sum[n][v]);
                }
            }
        }
        sync_block();
    }
}

// Bias, activation and residual of one value.
DEVICE void conv_finish(const ConvArguments& a, uint32_t channel, size_t voxel, float sum) {
    const size_t voxels = a.grid.voxels();
    float y = activate(sum + a.bias[channel], a.slopes[channel]);
    if (a.residual) {
        const bool first = channel < a.residual_channels;
        const Global<const float> residual = first ? a.residual : a.residual_skip;
        y += residual[(a.residual_is_shared ? 0 : (first ? channel : channel - a.residual_channels) * voxels) + voxel];
    }
    a.output[channel * voxels + voxel] = y;
}

template <int KW>
DEVICE void conv_f32(const ConvArguments& a) {
    if (a.needed && !a.needed[block_index()]) return;
    const Voxel origin = tile_origin(a.grid, block_index());
    const uint32_t split = block_index_y() % a.splits, output_block = block_index_y() / a.splits;
    float sum[CHUNK][CONV_ROW] = {};
    conv_accumulate<KW>(sum, a, origin, output_block, split);

    const ConvThread self;
    const uint32_t d = origin.d + self.d, h = origin.h + self.h;
    if (d >= a.grid.depth || h >= a.grid.height) return;
    const size_t row = (static_cast<size_t>(d) * a.grid.height + h) * a.grid.width;
    UNROLL
    for (uint32_t n = 0; n < CHUNK; ++n) {
        const uint32_t channel = output_block * CONV_OUTPUTS + self.group * CHUNK + n;
        if (channel >= a.outputs) continue;
        UNROLL
        for (uint32_t v = 0; v < CONV_ROW; ++v) {
            const uint32_t w = origin.w + self.w + v;
            if (w >= a.grid.width) continue;
            if (a.splits == 1) conv_finish(a, channel, row + w, sum[n][v]);
            else a.partial[(static_cast<size_t>(split) * a.outputs + channel) * a.grid.voxels() + row + w] = sum[n][v];
        }
    }
}

KERNEL(conv_f32_w1, ConvArguments, CONV_THREADS) {
    conv_f32<1>(a);
}
KERNEL(conv_f32_w3, ConvArguments, CONV_THREADS) {
    conv_f32<3>(a);
}
KERNEL(conv_f32_w5, ConvArguments, CONV_THREADS) {
    conv_f32<5>(a);
}
KERNEL(conv_f32_w7, ConvArguments, CONV_THREADS) {
    conv_f32<7>(a);
}
