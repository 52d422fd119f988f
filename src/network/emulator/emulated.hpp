// What kernels/ptx.cuh is on the host: each wrapper as the documented meaning of its instruction, lane by lane.
#pragma once
#include "device.hpp"
#include <cmath>
#include <type_traits>

#define DEVICE inline
#define UNROLL
#define UNROLL_BY(count)
#define KERNEL_FOR(name, Arguments, threads, blocks) KERNEL(name, Arguments, threads)
#define KERNEL(name, Arguments, threads)                                                                                   \
    static void name(const Arguments&);                                                                                    \
    static const bool name##_is_registered = [] {                                                                          \
        emulator::kernels().push_back({#name, sizeof(Arguments), [](const void* a) { name(*static_cast<const Arguments*>(a)); }}); \
        return true;                                                                                                       \
    }();                                                                                                                   \
    static void name([[maybe_unused]] const Arguments& a)

struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};

// A word of device memory: reading and writing it go through the device's checks.
template <typename T, bool SHARED>
class Reference {
public:
    explicit Reference(char* at) : at_(at) {}
    Reference(const Reference&) = default;
    operator T() const {
        if (SHARED) emulator::current->read_shared(at_, sizeof(T));
        else emulator::current->read(at_, sizeof(T));
        T value;
        std::memcpy(&value, at_, sizeof(T));
        return value;
    }
    Reference& operator=(T value) {
        static_assert(sizeof(T) % 4 == 0, "the shadow memory sees whole words");
        if (SHARED) emulator::current->write_shared(at_, sizeof(T));
        else emulator::current->write(at_, sizeof(T));
        std::memcpy(at_, &value, sizeof(T));
        return *this;
    }
    Reference& operator=(const Reference& other) { return *this = static_cast<T>(other); }

private:
    char* at_;
};

template <typename T>
struct Global {
    using Value = std::remove_const_t<T>;
    uint64_t address;
    auto operator[](size_t index) const {
        Reference<Value, false> word(at(index));
        if constexpr (std::is_const_v<T>) return static_cast<Value>(word);
        else return word;
    }
    explicit operator bool() const { return address != 0; }
    char* at(size_t index) const { return reinterpret_cast<char*>(address + index * sizeof(T)); }
};

template <typename T>
struct Shared {
    char* begin;
    uint32_t count;
    char* at(size_t index) const {
        if (index >= count) emulator::current->fail("touches shared memory out of bounds: element %zu of %u", index, count);
        return begin + index * sizeof(T);
    }
    Reference<T, true> operator[](size_t index) const { return Reference<T, true>(at(index)); }
};

template <typename T>
inline Shared<T> shared_array(uint32_t offset, uint32_t count) {
    return {emulator::current->shared(offset, count * sizeof(T)), count};
}

inline uint32_t thread_index() {
    return emulator::current->thread();
}
inline uint32_t block_threads() {
    return emulator::current->threads();
}
inline uint32_t block_index() {
    return emulator::current->block()[0];
}
inline uint32_t block_index_y() {
    return emulator::current->block()[1];
}
inline uint32_t grid_blocks() {
    return emulator::current->grid_blocks();
}
template <typename T>
inline T min(T a, T b) {
    return b < a ? b : a;
}

inline void sync_block(int line = __builtin_LINE()) {
    emulator::current->block_barrier(line);
}
inline void sync_warp(int line = __builtin_LINE()) {
    emulator::current->warp_rendezvous("__syncwarp", line, {}, nullptr, true);
}

// shfl.sync.down: lane l receives the value of lane l + delta; lanes past the end keep their own.
template <typename T>
inline T shuffle_down(T value, uint32_t delta, int line = __builtin_LINE()) {
    struct In {
        T value;
        uint32_t delta;
    } in{value, delta};
    T out;
    emulator::current->warp_rendezvous(
        "shfl.sync.down", line, {&in, &out},
        [](emulator::Deposit lanes[32]) {
            for (uint32_t lane = 0; lane < 32; ++lane) {
                uint32_t from = lane + static_cast<const In*>(lanes[lane].in)->delta;
                *static_cast<T*>(lanes[lane].out) = static_cast<const In*>(lanes[from < 32 ? from : lane].in)->value;
            }
        },
        false);
    return out;
}

inline void copy_async_4(Shared<float> to, size_t to_index, Global<const float> from, size_t from_index, bool valid) {
    emulator::current->copy_async(to.at(to_index), from.at(from_index), 4, valid);
}
template <typename T>
inline void copy_async_16(Shared<T> to, size_t to_index, Global<const T> from, size_t from_index, bool valid) {
    static_assert(sizeof(T) == 16);
    char* at = to.at(to_index);
    if (reinterpret_cast<uintptr_t>(from.at(from_index)) % 16 != 0) emulator::current->fail("cp.async of 16 bytes from an unaligned address");
    if ((at - emulator::current->shared(0, 0)) % 16 != 0) emulator::current->fail("cp.async of 16 bytes to an unaligned address");
    emulator::current->copy_async(at, from.at(from_index), 16, valid);
}
inline void commit_async() {
    emulator::current->commit_async();
}
template <int GROUPS>
inline void wait_async() {
    emulator::current->wait_async(GROUPS);
}

inline float half_to_float(uint16_t bits) {
    uint32_t magnitude = bits & 0x7fff, sign = static_cast<uint32_t>(bits & 0x8000) << 16, out;
    float value;
    if (magnitude >= 0x7c00) {
        out = 0x7f800000 | (magnitude & 0x3ff) << 13;
    } else {
        // Exact for subnormal halves too: the exponent's bias is corrected by a multiplication with 2^112.
        out = magnitude << 13;
        std::memcpy(&value, &out, 4);
        value *= 0x1p112f;
        std::memcpy(&out, &value, 4);
    }
    out |= sign;
    std::memcpy(&value, &out, 4);
    return value;
}

// Round to nearest, ties to even, as cvt.rn.f16.f32.
inline uint16_t float_to_half(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return 0x7fff;
    if (magnitude >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);  // 65520 and more round to infinity
    if (magnitude < 0x38800000) {
        // Below 2^-14: the sum with 1/2 leaves the rounded subnormal in the low bits.
        float positive;
        std::memcpy(&positive, &magnitude, 4);
        positive += 0.5f;
        std::memcpy(&bits, &positive, 4);
        return static_cast<uint16_t>(sign | (bits - 0x3f000000));
    }
    magnitude += 0xfff + (magnitude >> 13 & 1);
    return static_cast<uint16_t>(sign | ((magnitude - 0x38000000) >> 13));
}

inline uint32_t pack_half2(float low, float high) {
    return float_to_half(low) | static_cast<uint32_t>(float_to_half(high)) << 16;
}
inline float low_half(uint32_t pair) {
    return half_to_float(static_cast<uint16_t>(pair));
}
inline float high_half(uint32_t pair) {
    return half_to_float(static_cast<uint16_t>(pair >> 16));
}

// ldmatrix.sync.aligned.m8n8.x4.shared.b16: lane 8 m + r brings the address of row r of matrix m; lane l receives of each matrix
// the two halves of row l / 4 at columns 2 (l % 4) and 2 (l % 4) + 1 (PTX ISA 9.7.14.5.15).
inline void load_matrix_x4(uint32_t out[4], Shared<uint4> rows, size_t index, int line = __builtin_LINE()) {
    char* row = rows.at(index);
    emulator::current->read_shared(row, 16);
    emulator::current->change_registers();
    emulator::current->warp_rendezvous(
        "ldmatrix", line, {row, out},
        [](emulator::Deposit lanes[32]) {
            for (int lane = 0; lane < 32; ++lane) {
                for (int matrix = 0; matrix < 4; ++matrix) {
                    const char* from = static_cast<const char*>(lanes[8 * matrix + lane / 4].in) + 4 * (lane % 4);
                    std::memcpy(static_cast<uint32_t*>(lanes[lane].out) + matrix, from, 4);
                }
            }
        },
        false);
}

// mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32: D = A B + D. Lane l holds, with g = l / 4 and t = 2 (l % 4) (PTX ISA 9.7.14.5.8):
// A: rows g, g + 8, g, g + 8 at columns t, t + 1 (first two registers) and t + 8, t + 9 (last two);
// B: rows t, t + 1 and t + 8, t + 9 at column g;  D: row g, columns t, t + 1, then row g + 8.
inline void mma_m16n8k16(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1, int line = __builtin_LINE()) {
    struct In {
        const uint32_t* a;
        uint32_t b[2];
    } in{a, {b0, b1}};
    emulator::current->warp_rendezvous(
        "mma.sync", line, {&in, d},
        [](emulator::Deposit lanes[32]) {
            float a[16][16], b[16][8], d[16][8];
            for (int lane = 0; lane < 32; ++lane) {
                const In& in = *static_cast<const In*>(lanes[lane].in);
                const float* from = static_cast<const float*>(lanes[lane].out);
                int g = lane / 4, t = 2 * (lane % 4);
                for (int r = 0; r < 4; ++r) {
                    a[g + 8 * (r % 2)][t + 8 * (r / 2)] = low_half(in.a[r]);
                    a[g + 8 * (r % 2)][t + 8 * (r / 2) + 1] = high_half(in.a[r]);
                    d[g + 8 * (r / 2)][t + r % 2] = from[r];
                }
                for (int r = 0; r < 2; ++r) {
                    b[t + 8 * r][g] = low_half(in.b[r]);
                    b[t + 8 * r + 1][g] = high_half(in.b[r]);
                }
            }
            for (int m = 0; m < 16; ++m) {
                for (int k = 0; k < 16; ++k) {
                    for (int n = 0; n < 8; ++n) d[m][n] += a[m][k] * b[k][n];
                }
            }
            for (int lane = 0; lane < 32; ++lane) {
                float* to = static_cast<float*>(lanes[lane].out);
                for (int r = 0; r < 4; ++r) to[r] = d[lane / 4 + 8 * (r / 2)][2 * (lane % 4) + r % 2];
            }
        },
        false);
}

// What follows is of sm_90; src/network/emulator/async.cpp has the meaning of each.
struct alignas(64) TensorMap {
    uint64_t words[16];
};

inline void mbarrier_init(Shared<uint64_t> barriers, uint32_t index, uint32_t arrivals) {
    emulator::current->mbarrier_init(barriers.at(index), arrivals);
}
inline void mbarrier_arrive(Shared<uint64_t> barriers, uint32_t index) {
    emulator::current->mbarrier_arrive(barriers.at(index));
}
inline void mbarrier_arrive_expect(Shared<uint64_t> barriers, uint32_t index, uint32_t bytes) {
    emulator::current->mbarrier_expect(barriers.at(index), bytes);
    emulator::current->mbarrier_arrive(barriers.at(index));
}
inline void mbarrier_wait(Shared<uint64_t> barriers, uint32_t index, uint32_t parity, int line = __builtin_LINE()) {
    emulator::current->mbarrier_wait(barriers.at(index), parity, line);
}
inline void fence_proxy_async() {
    emulator::current->fence_proxy_async();
}

inline void copy_tensor(Shared<uint4> to, size_t to_index, const TensorMap& map, int32_t x, int32_t y, int32_t z, int32_t w,
                        Shared<uint64_t> barriers, uint32_t index) {
    const int32_t begin[4] = {x, y, z, w};
    emulator::current->copy_tensor(to.at(to_index), map.words, begin, barriers.at(index));
}
inline void copy_bulk(Shared<uint4> to, size_t to_index, Global<const uint4> from, size_t from_index, uint32_t count,
                      Shared<uint64_t> barriers, uint32_t index) {
    emulator::current->copy_bulk(to.at(to_index), from.at(from_index), 16 * size_t{count}, barriers.at(index));
}

inline uint64_t matrix_descriptor(Shared<uint4> matrix, size_t index, uint32_t leading, uint32_t stride) {
    uint64_t address = matrix.at(index) - emulator::current->shared(0, 0);
    return address >> 4 | static_cast<uint64_t>(leading >> 4) << 16 | static_cast<uint64_t>(stride >> 4) << 32;
}
template <size_t REGISTERS>
inline void wgmma_m64k16(float (&d)[REGISTERS], const uint32_t (&a)[4], uint64_t b, int line = __builtin_LINE()) {
    emulator::current->wgmma(d, 2 * REGISTERS, a, b, line);
}
inline void wgmma_fence() {
    emulator::current->wgmma_fence();
}
inline void wgmma_commit() {
    emulator::current->wgmma_commit();
}
template <int GROUPS>
inline void wgmma_wait(int line = __builtin_LINE()) {
    emulator::current->wgmma_wait(GROUPS, line);
}
// setmaxnreg: the registers of the host are its compiler's.
template <int REGISTERS>
inline void fewer_registers() {
    static_assert(REGISTERS % 8 == 0 && REGISTERS >= 24 && REGISTERS <= 256, "PTX ISA, setmaxnreg");
}
template <int REGISTERS>
inline void more_registers() {
    fewer_registers<REGISTERS>();
}
template <size_t REGISTERS>
inline void settle_registers(float (&)[REGISTERS]) {}

// Sets the word to 1. Any number of threads may: the order cannot be seen.
inline void raise_flag(Global<uint32_t> flag) {
    emulator::current->raise(flag.at(0));
}

inline float multiply_add(float a, float b, float c) {
    return a * b + c;  // two roundings where the device has one
}
