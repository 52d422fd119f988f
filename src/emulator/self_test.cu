// Kernels for the emulator's own tests (tests/emulator.rs): each has one bug, or shows one instruction. Written as the real ones are.
#pragma once
#include "../../kernels/common.cuh"

struct SelfTestArguments {
    Global<const float> input;
    Global<float> output;
    Global<uint32_t> words;
    uint32_t mode, padding;
};

// Writes the reverse of a block's values by way of shared memory. mode 1: the barrier is missing.
KERNEL(self_test_reverse, SelfTestArguments, 64) {
    const Shared<float> tile = shared_array<float>(0, 64);
    tile[thread_index()] = a.input[thread_index()];
    if (a.mode != 1) sync_block();
    a.output[thread_index()] = tile[63 - thread_index()];
}

// A tile is used again. mode 1: the barrier between the last read and the next write is missing.
KERNEL(self_test_reuse, SelfTestArguments, 64) {
    const Shared<float> tile = shared_array<float>(0, 64);
    float sum = 0.0f;
    for (uint32_t round = 0; round < 2; ++round) {
        tile[thread_index()] = a.input[thread_index()] + round;
        sync_block();
        sum += tile[63 - thread_index()];
        if (a.mode != 1) sync_block();
    }
    a.output[thread_index()] = sum;
}

// mode 0: a warp exchanges values with __syncwarp between; 1: without; 2: the other warp's values, for which __syncwarp is too little.
KERNEL(self_test_warp, SelfTestArguments, 64) {
    const Shared<float> tile = shared_array<float>(0, 64);
    tile[thread_index()] = a.input[thread_index()];
    if (a.mode != 1) sync_warp();
    a.output[thread_index()] = tile[thread_index() ^ (a.mode == 2 ? 32 : 1)];
}

// mode 0: reads input[thread]; 1: one past the end; 2: writes one past the end; 3: reads shared memory past its array;
// 4: reads shared memory never written; 5: reads output, which nobody wrote.
KERNEL(self_test_bounds, SelfTestArguments, 64) {
    const Shared<float> tile = shared_array<float>(0, 64);
    float value = a.input[thread_index() + (a.mode == 1)];
    if (a.mode == 3) tile[thread_index() + 1] = value;
    if (a.mode == 4) value = tile[thread_index()];
    if (a.mode == 5) value = Global<const float>{a.output.address}[thread_index()];
    a.output[thread_index() + (a.mode == 2)] = value;
}

// Copies by cp.async. mode 1: reads its own word without a wait; 2: waits for the wrong group; 3: the wait, but no barrier, and reads
// another thread's word; 4: never waits; 5: copies that are not valid give zeros; 6: an address that is no multiple of 16.
KERNEL(self_test_async, SelfTestArguments, 64) {
    const Shared<float> tile = shared_array<float>(0, 64);
    if (a.mode == 6) {
        copy_async_16(shared_array<float4>(0, 16), 0, Global<const float4>{a.input.address + 4}, 0, true);
    }
    copy_async_4(tile, thread_index(), a.input, thread_index(), a.mode != 5);
    commit_async();
    if (a.mode == 4) return;
    if (a.mode == 2) wait_async<1>();
    else if (a.mode != 1) wait_async<0>();
    if (a.mode == 0 || a.mode == 5) sync_block();
    a.output[thread_index()] = tile[a.mode == 1 || a.mode == 2 ? thread_index() : 63 - thread_index()];
    wait_async<0>();
}

// mode 1: half of the threads never come to the barrier; 2: lanes of a warp stand at different operations.
KERNEL(self_test_divergence, SelfTestArguments, 64) {
    if (a.mode == 1 && thread_index() >= 32) return;
    if (a.mode == 2) {
        if (thread_index() % 2) sync_warp();
        else shuffle_down(1.0f, 1);
    }
    sync_block();
    a.output[thread_index()] = 0.0f;
}

// Blocks of one launch. mode 0: each writes its own word; 1: all write word 0; 2: each reads what the next writes.
KERNEL(self_test_blocks, SelfTestArguments, 32) {
    if (thread_index() != 0) return;
    if (a.mode == 2 && block_index() == 0) a.output[0] = Global<const float>{a.output.address}[1];
    else a.output[a.mode == 1 ? 0 : block_index()] = 1.0f;
}

// ldmatrix.x4 of 32 rows of 8 halves (16 bytes each) whose bits are the input: output word 4 lane + m is the lane's register m.
KERNEL(self_test_ldmatrix, SelfTestArguments, 32) {
    const Shared<uint4> rows = shared_array<uint4>(0, 32);
    const Shared<float> words = shared_array<float>(0, 128);
    for (uint32_t n = 0; n < 4; ++n) words[thread_index() * 4 + n] = a.input[thread_index() * 4 + n];
    sync_warp();
    uint32_t registers[4];
    load_matrix_x4(registers, rows, thread_index());
    for (uint32_t m = 0; m < 4; ++m) a.words[thread_index() * 4 + m] = registers[m];
}

// mma.m16n8k16 with fragments given lane by lane: input holds for each lane 8 values of a, 4 of b, 4 of d.
KERNEL(self_test_mma, SelfTestArguments, 32) {
    float in[16], d[4];
    for (uint32_t n = 0; n < 16; ++n) in[n] = a.input[thread_index() * 16 + n];
    uint32_t fragment[4];
    for (uint32_t n = 0; n < 4; ++n) {
        fragment[n] = pack_half2(in[2 * n], in[2 * n + 1]);
        d[n] = in[12 + n];
    }
    mma_m16n8k16(d, fragment, pack_half2(in[8], in[9]), pack_half2(in[10], in[11]));
    for (uint32_t n = 0; n < 4; ++n) a.output[thread_index() * 4 + n] = d[n];
}

// The value delta lanes further on; mode is delta.
KERNEL(self_test_shuffle, SelfTestArguments, 32) {
    a.output[thread_index()] = shuffle_down(a.input[thread_index()], a.mode);
}

// To f16 and back.
KERNEL(self_test_half, SelfTestArguments, 32) {
    const float value = a.input[thread_index()];
    a.words[thread_index()] = pack_half2(value, -value);
}
