// Kernels for the emulator's own tests (tests/emulator.rs): each has one bug, or shows one instruction. Written as the real ones are.
#pragma once
#include "../../../kernels/common.cuh"

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

// One wgmma of 64xNx16: input holds for each of 128 threads 8 values of a and N/2 of d, then b as [column][16]. Shared memory holds the four or
// more core matrices of b in an order of its own: of K half k and column group n at 128 (n + groups k) bytes. mode:
//  1 no wgmma.fence                     2 b written with no fence.proxy.async    3 d is read before the wait
//  4 b is written before the wait       5 a is changed before the wait           6 d is written before the wait
//  7 never waits                        8 the last warp issues none              9 the descriptor leads out of shared memory
// 10 b was never written               11 waits, but for a group that was never committed
// 12 the warps' descriptors differ     13 the barrier after the writes of b is missing
template <size_t REGISTERS>
DEVICE void self_test_wgmma(const SelfTestArguments& a) {
    constexpr uint32_t GROUPS = REGISTERS / 4;
    const uint32_t thread = thread_index(), per_thread = 8 + REGISTERS;
    const Shared<uint4> matrix = shared_array<uint4>(0, 16 * GROUPS);
    const Shared<uint32_t> pairs = shared_array<uint32_t>(0, 64 * GROUPS);
    for (uint32_t n = thread; n < 64 * GROUPS && a.mode != 10; n += 128) {
        // Pair n % 4 of row n / 4 % 8 of core matrix n / 32.
        const uint32_t core = n / 32, column = core % GROUPS * 8 + n / 4 % 8, k = core / GROUPS * 8 + n % 4 * 2;
        const size_t from = 128 * per_thread + column * 16 + k;
        pairs[n] = pack_half2(a.input[from], a.input[from + 1]);
    }
    if (a.mode != 2) fence_proxy_async();
    if (a.mode != 13) sync_block();
    uint32_t registers[4];
    for (uint32_t n = 0; n < 4; ++n) {
        registers[n] = pack_half2(a.input[thread * per_thread + 2 * n], a.input[thread * per_thread + 2 * n + 1]);
    }
    float d[REGISTERS];
    for (uint32_t n = 0; n < REGISTERS; ++n) d[n] = a.input[thread * per_thread + 8 + n];
    if (a.mode != 1) wgmma_fence();
    if (a.mode != 8 || thread < 96) {
        const bool other = a.mode == 12 && thread >= 96;
        const uint32_t leading = a.mode == 9 ? 65536 : 128 * GROUPS;
        wgmma_m64k16(d, registers, matrix_descriptor(matrix, 0, other ? 128 : leading, 128));
        if (a.mode != 11) wgmma_commit();
    }
    if (a.mode == 5) registers[3] ^= 1;
    if (a.mode == 6) d[1] = 3.0f;
    if (a.mode == 4) {
        sync_block();
        pairs[thread] = 0;
    }
    if (a.mode != 3 && a.mode != 7) wgmma_wait<0>();
    settle_registers(d);
    for (uint32_t n = 0; n < REGISTERS; ++n) a.output[thread * REGISTERS + n] = d[n];
    if (a.mode == 3) wgmma_wait<0>();
}
KERNEL(self_test_wgmma_n32, SelfTestArguments, 128) {
    self_test_wgmma<16>(a);
}
KERNEL(self_test_wgmma_n64, SelfTestArguments, 128) {
    self_test_wgmma<32>(a);
}

// Two groups of wgmmas: wait_group<1> gives the results of the first alone. mode 1: takes those of the second.
KERNEL(self_test_wgmma_groups, SelfTestArguments, 128) {
    const Shared<uint4> matrix = shared_array<uint4>(0, 64);
    const Shared<uint32_t> pairs = shared_array<uint32_t>(0, 256);
    for (uint32_t n = thread_index(); n < 256; n += 128) pairs[n] = pack_half2(1.0f, 1.0f);
    fence_proxy_async();
    sync_block();
    const uint32_t ones[4] = {pack_half2(1.0f, 1.0f), pack_half2(1.0f, 1.0f), pack_half2(1.0f, 1.0f), pack_half2(1.0f, 1.0f)};
    const uint64_t b = matrix_descriptor(matrix, 0, 512, 128);
    float first[16] = {}, second[16] = {};
    wgmma_fence();
    wgmma_m64k16(first, ones, b);
    wgmma_m64k16(first, ones, b);
    wgmma_commit();
    wgmma_m64k16(second, ones, b);
    wgmma_commit();
    wgmma_wait<1>();
    a.output[thread_index()] = a.mode == 1 ? second[0] : first[0];
    wgmma_wait<0>();
}

struct SelfTestTensorArguments {
    TensorMap map;
    Global<const float> input;
    Global<float> output;
    uint32_t mode;
    int32_t begin[4];
    uint32_t words;  // of the box
    uint32_t padding[6];
};

// Copies a box of a tensor into shared memory at byte 128 and writes its words out. mode:
//  1 reads before the wait             2 waits for another mbarrier         3 expects more bytes than come
//  4 no fence.proxy.async              5 no barrier after the mbarriers     6 an mbarrier that was not initialised
//  7 writes into the box meanwhile     8 never waits                        9 an address that is no multiple of 128
// 10 waits for the wrong parity       11 only thread 0 waits, no barrier   12 a box that is larger than shared memory
// 13 fewer bytes are expected than come  14 over the mbarriers themselves   15 over words that were written with no fence.proxy.async
KERNEL(self_test_tensor, SelfTestTensorArguments, 64) {
    const Shared<uint64_t> barriers = shared_array<uint64_t>(0, 4);
    const Shared<uint4> box = shared_array<uint4>(0, 64);
    const Shared<float> words = shared_array<float>(128, 192);
    const uint32_t thread = thread_index();
    if (thread == 0) {
        for (uint32_t n = 0; n < 2; ++n) mbarrier_init(barriers, n, 1);
        if (a.mode != 4) fence_proxy_async();
    }
    if (a.mode != 5) sync_block();
    if (a.mode == 15) {
        if (thread == 0) words[0] = 1.0f;
        sync_block();
    }
    const uint32_t barrier = a.mode == 6 ? 2 : 0;
    if (thread == 0) {
        mbarrier_arrive_expect(barriers, barrier, 4 * a.words + (a.mode == 3 ? 4 : 0) - (a.mode == 13 ? 4 : 0));
        if (a.mode == 2) mbarrier_arrive(barriers, 1);
        copy_tensor(box, a.mode == 9 ? 9 : a.mode == 12 ? 56 : a.mode == 14 ? 0 : 8, a.map, a.begin[0], a.begin[1], a.begin[2], a.begin[3], barriers,
                    barrier);
    }
    if (a.mode == 7 && thread == 0) words[0] = 0.0f;
    if (a.mode == 8) return;
    if (a.mode != 1 && (a.mode != 11 || thread == 0)) mbarrier_wait(barriers, a.mode == 2 ? 1 : barrier, a.mode == 10 ? 1 : 0);
    for (uint32_t n = thread; n < a.words; n += 64) a.output[n] = words[n];
    if (a.mode == 1) mbarrier_wait(barriers, 0, 0);
}

// A bulk copy of `words` words. mode 1: to an address that is no multiple of 16.
KERNEL(self_test_bulk, SelfTestTensorArguments, 64) {
    const Shared<uint64_t> barriers = shared_array<uint64_t>(0, 1);
    const Shared<uint4> to = shared_array<uint4>(a.mode == 1 ? 24 : 16, 32);
    const Shared<float> words = shared_array<float>(16, 128);
    if (thread_index() == 0) {
        mbarrier_init(barriers, 0, 1);
        fence_proxy_async();
        mbarrier_arrive_expect(barriers, 0, 4 * a.words);
        copy_bulk(to, 0, Global<const uint4>{a.input.address}, 0, a.words / 4, barriers, 0);
    }
    sync_block();
    mbarrier_wait(barriers, 0, 0);
    for (uint32_t n = thread_index(); n < a.words; n += 64) a.output[n] = words[n];
}

// A ring of two buffers of 64 words between warp 2, which copies eight parts of the input, and warps 0 and 1, which read them. mode:
//  1 the readers say that a buffer is free before they read it       2 without __syncwarp before lane 0 says so
//  3 the readers never say so                                        4 the copies do not wait for free buffers
//  5 one warp says so for both                                       6 an arrival too many
KERNEL(self_test_ring, SelfTestTensorArguments, 96) {
    constexpr uint32_t FULL = 0, FREE = 2, STAGES = 2, ROUNDS = 8;
    const Shared<uint64_t> barriers = shared_array<uint64_t>(0, 4);
    const Shared<uint4> buffers = shared_array<uint4>(128, 32);
    const Shared<float> words = shared_array<float>(128, 128);
    const uint32_t thread = thread_index(), lane = thread % 32;
    if (thread == 0) {
        for (uint32_t n = 0; n < STAGES; ++n) {
            mbarrier_init(barriers, FULL + n, 1);
            mbarrier_init(barriers, FREE + n, a.mode == 5 ? 1 : 2);
        }
        fence_proxy_async();
    }
    sync_block();
    if (thread >= 64) {
        if (lane != 0) return;
        for (uint32_t round = 0; round < ROUNDS; ++round) {
            const uint32_t stage = round % STAGES;
            if (a.mode != 4) mbarrier_wait(barriers, FREE + stage, round / STAGES % 2 ^ 1);
            mbarrier_arrive_expect(barriers, FULL + stage, 256);
            copy_bulk(buffers, 16 * stage, Global<const uint4>{a.input.address}, 16 * round, 16, barriers, FULL + stage);
        }
        return;
    }
    float sum = 0.0f;
    for (uint32_t round = 0; round < ROUNDS; ++round) {
        const uint32_t stage = round % STAGES;
        mbarrier_wait(barriers, FULL + stage, round / STAGES % 2);
        if (a.mode == 1 && lane == 0) mbarrier_arrive(barriers, FREE + stage);
        sum += words[64 * stage + 63 - thread];
        if (a.mode == 1 || a.mode == 3) continue;
        if (a.mode != 2) sync_warp();
        if (lane == 0 && (a.mode != 5 || thread == 0)) mbarrier_arrive(barriers, FREE + stage);
        if (a.mode == 6 && lane == 0) mbarrier_arrive(barriers, FREE + stage);
    }
    a.output[thread] = sum;
}
