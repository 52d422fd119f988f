// Everything that differs between a GPU and the emulated device: intrinsics, inline PTX, memory spaces. Kernels reach
// the hardware through these wrappers only. Compiled by nvcc a wrapper is its instruction; compiled for the host
// (src/network/emulator/emulated.hpp) it is the instruction's documented meaning, lane by lane, with every access checked.
#pragma once
#ifndef __CUDACC__
#include "emulated.hpp"
#else
#include <cstddef>
#include <cstdint>
#include <cuda_fp16.h>
#include <type_traits>

#define DEVICE __device__ __forceinline__
#define UNROLL _Pragma("unroll")
#define UNROLL_BY(count) ICHOR_PRAGMA(unroll (count))
#define ICHOR_PRAGMA(text) _Pragma(#text)
// A kernel `name` with one argument `a`, for blocks of `threads`, of which a multiprocessor's registers hold at least `blocks`.
#define KERNEL_FOR(name, Arguments, threads, blocks) extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ Arguments a)
#define KERNEL(name, Arguments, threads) extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ Arguments a)

// An array in global memory; one of const elements is read through the read-only cache.
template <typename T>
struct Global {
    T* pointer;
    DEVICE decltype(auto) operator[](size_t index) const {
        if constexpr (std::is_const_v<T>) return __ldg(pointer + index);
        else return (pointer[index]);
    }
    DEVICE explicit operator bool() const { return pointer != nullptr; }
};

// An array in the block's shared memory.
template <typename T>
struct Shared {
    T* pointer;
    DEVICE T& operator[](size_t index) const { return pointer[index]; }
    DEVICE uint32_t address(size_t index) const { return static_cast<uint32_t>(__cvta_generic_to_shared(pointer + index)); }
};

extern __shared__ __align__(128) unsigned char shared_memory[];

// `count` elements of the launch's shared memory, beginning at byte `offset`.
template <typename T>
DEVICE Shared<T> shared_array(uint32_t offset, uint32_t count) {
    return {reinterpret_cast<T*>(shared_memory + offset)};
}

DEVICE uint32_t thread_index() {
    return threadIdx.x;
}
DEVICE uint32_t block_threads() {
    return blockDim.x;
}
DEVICE uint32_t block_index() {
    return blockIdx.x;
}
DEVICE uint32_t block_index_y() {
    return blockIdx.y;
}
// Blocks along x.
DEVICE uint32_t grid_blocks() {
    return gridDim.x;
}

DEVICE void sync_block() {
    __syncthreads();
}
DEVICE void sync_warp() {
    __syncwarp();
}
template <typename T>
DEVICE T shuffle_down(T value, uint32_t delta) {
    return __shfl_down_sync(0xffffffff, value, delta);
}

// Asynchronous copies into shared memory; where not `valid`, zeros are written and nothing is read.
// Before sm_80 there is no cp.async: the copy is done at once.
DEVICE void copy_async_4(Shared<float> to, size_t to_index, Global<const float> from, size_t from_index, bool valid) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to.address(to_index)),
                 "l"(from.pointer + (valid ? from_index : 0)), "r"(valid ? 4 : 0)
                 : "memory");
#else
    to[to_index] = valid ? from[from_index] : 0.0f;
#endif
}
template <typename T>
DEVICE void copy_async_16(Shared<T> to, size_t to_index, Global<const T> from, size_t from_index, bool valid) {
    static_assert(sizeof(T) == 16);
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to.address(to_index)),
                 "l"(from.pointer + (valid ? from_index : 0)), "r"(valid ? 16 : 0)
                 : "memory");
#else
    to[to_index] = valid ? from[from_index] : T{};
#endif
}
// Closes the group of the thread's copies since the last commit.
DEVICE void commit_async() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Waits until at most GROUPS of the thread's groups are under way.
template <int GROUPS>
DEVICE void wait_async() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(GROUPS) : "memory");
#endif
}

// Two halves in a word, the first in the low bits; conversion rounds to nearest even.
DEVICE uint32_t pack_half2(float low, float high) {
    __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<uint32_t*>(&pair);
}
DEVICE float low_half(uint32_t pair) {
    return __half2float(__ushort_as_half(static_cast<unsigned short>(pair)));
}
DEVICE float high_half(uint32_t pair) {
    return __half2float(__ushort_as_half(static_cast<unsigned short>(pair >> 16)));
}

// Four 8x8 matrices of halves: lane 8 m + r brings the index of row r (16 bytes) of matrix m, and receives of each matrix the
// halves of row lane / 4 at columns 2 (lane % 4) and the next.
DEVICE void load_matrix_x4(uint32_t out[4], Shared<uint4> rows, size_t index) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(rows.address(index))
                 : "memory");
}

// d (16x8, f32) += a (16x16, f16) b (16x8, f16), fragments as in the PTX manual (emulated.hpp spells them).
DEVICE void mma_m16n8k16(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    // sm_75 has half the depth: the first two registers of a and b0 are its columns 0 to 7.
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b0));
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[2]), "r"(a[3]), "r"(b1));
#endif
}

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
// What follows is of sm_90a alone.

// How a tensor lies in global memory and what box of it is copied (Device::tensor_map makes it).
struct alignas(64) TensorMap {
    uint64_t words[16];
};

// A barrier in shared memory whose phase ends when all arrivals have come and all expected bytes were copied.
DEVICE void mbarrier_init(Shared<uint64_t> barriers, uint32_t index, uint32_t arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barriers.address(index)), "r"(arrivals) : "memory");
}
DEVICE void mbarrier_arrive(Shared<uint64_t> barriers, uint32_t index) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barriers.address(index)) : "memory");
}
// Arrives, and makes the phase wait for `bytes` more.
DEVICE void mbarrier_arrive_expect(Shared<uint64_t> barriers, uint32_t index, uint32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barriers.address(index)), "r"(bytes) : "memory");
}
// Waits for the end of the phase of this parity: the current one, or the one before, which returns at once.
DEVICE void mbarrier_wait(Shared<uint64_t> barriers, uint32_t index, uint32_t parity) {
    uint32_t done;
    do {
        asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                     : "=r"(done)
                     : "r"(barriers.address(index)), "r"(parity)
                     : "memory");
    } while (!done);
}
// What the thread wrote to shared memory (mbarriers too) becomes visible to bulk copies and wgmma.
DEVICE void fence_proxy_async() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// Copies the box of `map` that begins at (x, y, z, w), x fastest and zeros outside of the tensor, to a multiple of 128 bytes.
DEVICE void copy_tensor(Shared<uint4> to, size_t to_index, const TensorMap& map, int32_t x, int32_t y, int32_t z, int32_t w,
                        Shared<uint64_t> barriers, uint32_t index) {
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(
                     to.address(to_index)),
                 "l"(&map), "r"(x), "r"(y), "r"(z), "r"(w), "r"(barriers.address(index))
                 : "memory");
}
// Copies `count` elements.
DEVICE void copy_bulk(Shared<uint4> to, size_t to_index, Global<const uint4> from, size_t from_index, uint32_t count,
                      Shared<uint64_t> barriers, uint32_t index) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to.address(to_index)),
                 "l"(from.pointer + from_index), "r"(16 * count), "r"(barriers.address(index))
                 : "memory");
}

// A matrix in shared memory made of core matrices (8 rows of 16 bytes, one after another) with no swizzle: `leading` bytes from one
// to the next along K, `stride` bytes along the other axis.
DEVICE uint64_t matrix_descriptor(Shared<uint4> matrix, size_t index, uint32_t leading, uint32_t stride) {
    return (matrix.address(index) & 0x3ffff) >> 4 | static_cast<uint64_t>(leading >> 4) << 16 | static_cast<uint64_t>(stride >> 4) << 32;
}

// d (64xN, f32) += a (64x16, f16, registers) b (16xN, f16, shared memory) by the four warps of a warpgroup; warp w has rows 16 w to 16 w + 15,
// laid out as those of mma.m16n8k16, d in groups of 8 columns. Asynchronous: d, a and b belong to it until it is waited for.
#define OUT8(n) "+f"(d[n]), "+f"(d[n + 1]), "+f"(d[n + 2]), "+f"(d[n + 3]), "+f"(d[n + 4]), "+f"(d[n + 5]), "+f"(d[n + 6]), "+f"(d[n + 7])
DEVICE void wgmma_m64k16(float (&d)[16], const uint32_t (&a)[4], uint64_t b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n32k16.f32.f16.f16 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, "
                 "%8, %9, %10, %11, %12, %13, %14, %15}, "
                 "{%16, %17, %18, %19}, %20, 1, 1, 1, 0;"
                 : OUT8(0), OUT8(8)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
DEVICE void wgmma_m64k16(float (&d)[32], const uint32_t (&a)[4], uint64_t b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, "
                 "%8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, "
                 "%24, %25, %26, %27, %28, %29, %30, %31}, "
                 "{%32, %33, %34, %35}, %36, 1, 1, 1, 0;"
                 : OUT8(0), OUT8(8), OUT8(16), OUT8(24)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
#undef OUT8
// Between a change of registers and the wgmma that uses them.
DEVICE void wgmma_fence() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
// Closes the group of the wgmmas since the last commit.
DEVICE void wgmma_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Gives registers of the warpgroup back, or takes more from those that others gave back.
template <int REGISTERS>
DEVICE void fewer_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}
template <int REGISTERS>
DEVICE void more_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}
// Waits until at most GROUPS groups are under way.
template <int GROUPS>
DEVICE void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(GROUPS) : "memory");
}
// The compiler may not move what uses the registers before this: it does not know that a wait gives them their values.
template <size_t REGISTERS>
DEVICE void settle_registers(float (&d)[REGISTERS]) {
    UNROLL
    for (size_t n = 0; n < REGISTERS; ++n) asm volatile("" : "+f"(d[n])::"memory");
}
#endif

// Sets the word to 1. Any number of threads may: the order cannot be seen.
DEVICE void raise_flag(Global<uint32_t> flag) {
    atomicOr(flag.pointer, 1u);
}

DEVICE float multiply_add(float a, float b, float c) {
    return fmaf(a, b, c);
}
#endif
