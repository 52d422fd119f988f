// What several kernels share: the tile of a block, activation layouts, the epilogue.
//
// Two layouts of an activation of C channels on a grid of V voxels (W fastest):
//   planar   f32 [C][V]            the exact grade
//   blocked  f16 [C/8][V][8]       the fast grade; a chunk of 8 channels of a voxel is one 16-byte word (uint4),
//                                  the channels that pad the last chunk hold 0
#pragma once
#include "ptx.cuh"

// Output voxels of a block of the convolutions, and the granule of skipping. src/network/cuda/tiles.rs has the same numbers.
constexpr uint32_t TILE_D = 4, TILE_H = 8, TILE_W = 16;
constexpr uint32_t CHUNK = 8;           // channels of a blocked word
constexpr float HALF_MAX = 65504.0f;    // the largest f16

struct Grid {
    uint32_t depth, height, width;
    DEVICE size_t voxels() const { return static_cast<size_t>(depth) * height * width; }
    DEVICE uint32_t tiles_h() const { return (height + TILE_H - 1) / TILE_H; }
    DEVICE uint32_t tiles_w() const { return (width + TILE_W - 1) / TILE_W; }
    DEVICE uint32_t tiles() const { return (depth + TILE_D - 1) / TILE_D * tiles_h() * tiles_w(); }
    // Number of the tile that holds a voxel.
    DEVICE uint32_t tile(uint32_t d, uint32_t h, uint32_t w) const {
        return (d / TILE_D * tiles_h() + h / TILE_H) * tiles_w() + w / TILE_W;
    }
};

struct Voxel {
    uint32_t d, h, w;
};

// First voxel of a tile.
DEVICE Voxel tile_origin(const Grid& grid, uint32_t tile) {
    return {tile / grid.tiles_w() / grid.tiles_h() * TILE_D, tile / grid.tiles_w() % grid.tiles_h() * TILE_H, tile % grid.tiles_w() * TILE_W};
}

DEVICE Voxel voxel_at(const Grid& grid, size_t index) {
    return {static_cast<uint32_t>(index / grid.width / grid.height), static_cast<uint32_t>(index / grid.width % grid.height),
            static_cast<uint32_t>(index % grid.width)};
}

// PReLU; ReLU has slope 0 (He et al. 2015, equation 1).
DEVICE float activate(float x, float slope) {
    return x > 0.0f ? x : slope * x;
}

DEVICE void unpack_chunk(float out[CHUNK], uint4 word) {
    out[0] = low_half(word.x);
    out[1] = high_half(word.x);
    out[2] = low_half(word.y);
    out[3] = high_half(word.y);
    out[4] = low_half(word.z);
    out[5] = high_half(word.z);
    out[6] = low_half(word.w);
    out[7] = high_half(word.w);
}

DEVICE uint4 pack_chunk(const float in[CHUNK]) {
    return {pack_half2(in[0], in[1]), pack_half2(in[2], in[3]), pack_half2(in[4], in[5]), pack_half2(in[6], in[7])};
}

// Whether a value has no place in f16: too large, infinite or not a number.
DEVICE bool overflows(float x) {
    return !(x >= -HALF_MAX && x <= HALF_MAX);
}

// Eight channels of a voxel in either layout. T is float for planar, uint4 for blocked.
DEVICE void load_chunk(float out[CHUNK], Global<const float> x, uint32_t chunk, uint32_t channels, size_t voxel, size_t voxels) {
    UNROLL
    for (uint32_t c = 0; c < CHUNK; ++c) {
        out[c] = chunk * CHUNK + c < channels ? x[(chunk * CHUNK + c) * voxels + voxel] : 0.0f;
    }
}
DEVICE void load_chunk(float out[CHUNK], Global<const uint4> x, uint32_t chunk, uint32_t, size_t voxel, size_t voxels) {
    unpack_chunk(out, x[chunk * voxels + voxel]);
}
DEVICE void store_chunk(Global<float> y, const float in[CHUNK], uint32_t chunk, uint32_t channels, size_t voxel, size_t voxels,
                        Global<uint32_t>) {
    UNROLL
    for (uint32_t c = 0; c < CHUNK; ++c) {
        if (chunk * CHUNK + c < channels) y[(chunk * CHUNK + c) * voxels + voxel] = in[c];
    }
}
DEVICE void store_chunk(Global<uint4> y, const float in[CHUNK], uint32_t chunk, uint32_t, size_t voxel, size_t voxels,
                        Global<uint32_t> overflow) {
    bool bad = false;
    UNROLL
    for (uint32_t c = 0; c < CHUNK; ++c) bad = bad || overflows(in[c]);
    if (bad) raise_flag(overflow);
    y[chunk * voxels + voxel] = pack_chunk(in);
}

// sum[n] += sum over c of w[c][n] x[c] for 8 input and 8 output channels; `weights` holds w as 16 float4.
DEVICE void multiply_chunk(float sum[CHUNK], const float x[CHUNK], const float4 weights[2 * CHUNK]) {
    UNROLL
    for (uint32_t c = 0; c < CHUNK; ++c) {
        const float4 low = weights[2 * c], high = weights[2 * c + 1];
        sum[0] = multiply_add(low.x, x[c], sum[0]);
        sum[1] = multiply_add(low.y, x[c], sum[1]);
        sum[2] = multiply_add(low.z, x[c], sum[2]);
        sum[3] = multiply_add(low.w, x[c], sum[3]);
        sum[4] = multiply_add(high.x, x[c], sum[4]);
        sum[5] = multiply_add(high.y, x[c], sum[5]);
        sum[6] = multiply_add(high.z, x[c], sum[6]);
        sum[7] = multiply_add(high.w, x[c], sum[7]);
    }
}
