// input_f16: the network's first layer for the fast grade: from the planar f32 scan, one channel, to blocked f16.
//   y[n, v] = act(bias[n] + sum over i, j, k of weight[i, j, k, n] * x[v + (i, j, k) - kernel/2]) + x[v]
// layout     x f32 [V], weights as conv_f32's, y blocked f16 [N/8][V][8]
// mapping    as conv_f32: a thread's 8 channels are one 16-byte word of the output
// bound      memory on the way out at 16 channels (32 bytes a voxel); FMA at 5x5x5: 125 FMA a value
// tested by  tests/kernels.rs
#pragma once
#include "conv.cu"

struct InputArguments {
    ConvArguments conv;      // residual, output and needed are not used
    Global<uint4> output;
    Global<uint32_t> overflow;
};
static_assert(sizeof(InputArguments) == 144, "src/cuda/conv.rs has the same layout");

template <int KW>
DEVICE void input_f16(const InputArguments& a) {
    const Grid grid = a.conv.grid;
    const Voxel origin = tile_origin(grid, block_index());
    float sum[CHUNK][CONV_ROW] = {};
    conv_accumulate<KW>(sum, a.conv, origin, block_index_y(), 0);

    const ConvThread self;
    const uint32_t d = origin.d + self.d, h = origin.h + self.h;
    const uint32_t first = block_index_y() * CONV_OUTPUTS + self.group * CHUNK;
    if (d >= grid.depth || h >= grid.height || first >= a.conv.outputs) return;
    const size_t row = (static_cast<size_t>(d) * grid.height + h) * grid.width;
    UNROLL
    for (uint32_t v = 0; v < CONV_ROW; ++v) {
        const uint32_t w = origin.w + self.w + v;
        if (w >= grid.width) continue;
        const float x = a.conv.input[row + w];
        float y[CHUNK];
        UNROLL
        for (uint32_t n = 0; n < CHUNK; ++n) {
            const float value = activate(sum[n][v] + a.conv.bias[first + n], a.conv.slopes[first + n]) + x;
            y[n] = first + n < a.conv.outputs ? value : 0.0f;
        }
        store_chunk(a.output, y, first / CHUNK, a.conv.outputs, row + w, grid.voxels(), a.overflow);
    }
}

KERNEL(input_f16_w1, InputArguments, CONV_THREADS) {
    input_f16<1>(a);
}
KERNEL(input_f16_w3, InputArguments, CONV_THREADS) {
    input_f16<3>(a);
}
KERNEL(input_f16_w5, InputArguments, CONV_THREADS) {
    input_f16<5>(a);
}
KERNEL(input_f16_w7, InputArguments, CONV_THREADS) {
    input_f16<7>(a);
}
