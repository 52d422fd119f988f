// The emulated device: memory with a shadow, and blocks whose threads are fibers.
//
// Every 4-byte word of global and shared memory has a shadow: who wrote it when, who read it when. Time is a counter that
// advances at every barrier, so two accesses of different threads are ordered only if a barrier of theirs lies between. An access out
// of bounds, of a word never written, of a word whose asynchronous copy was not waited for, or not ordered with another thread's write
// stops the launch with a message.
//
// mbarriers order some threads with some others. A block that has one keeps vector clocks (Fidge 1988, Mattern 1989): for each thread, up
// to which time it knows the accesses of each other thread and of each mbarrier's copies.
#pragma once
#include "fiber.hpp"
#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace emulator {

constexpr uint32_t MANY = 0x7fffffff;          // several readers
constexpr uint32_t MANY_IN_WARP = 0x40000000;  // several readers, all of the warp in the low bits

struct Shadow {
    uint32_t written = 0;     // time of the last write; 0: never
    uint32_t writer = 0;      // its thread
    uint32_t first_read = 0;  // time of the first and the last read since that write; 0: none
    uint32_t last_read = 0;
    uint32_t reader : 31;  // thread of the last reads, MANY or MANY_IN_WARP
    uint32_t in_flight : 1;   // an asynchronous copy into the word was issued and not waited for
    uint32_t multiplied = 0;  // warps whose wgmma under way reads the word
    Shadow() : reader(0), in_flight(0) {}
};

// One allocation of global memory, or the shared memory of the running block. Poisoned with NaN.
struct Memory {
    std::unique_ptr<char[]> storage;
    char* begin = nullptr;
    size_t bytes = 0;
    std::vector<Shadow> shadow;

    explicit Memory(size_t size) : storage(new char[size + 256]), bytes(size), shadow((size + 3) / 4) {
        begin = storage.get() + (256 - reinterpret_cast<uintptr_t>(storage.get()) % 256);
        std::memset(storage.get(), 0xff, size + 256);
    }
    bool holds(const char* at, size_t size) const { return at >= begin && size <= bytes && at <= begin + (bytes - size); }
};

struct Kernel {
    const char* name;
    size_t arguments;
    void (*run)(const void* arguments);
};

// All kernels that were compiled for the host; each registers itself (kernels.cpp).
std::vector<Kernel>& kernels();

struct Copy {  // of cp.async
    Memory* memory;
    char* to;
    const char* from;
    unsigned bytes;
    bool valid;
    bool grouped;
};

// A copy of cp.async.bulk, in rows.
struct BulkCopy {
    struct Row {
        char* to;
        const char* from;  // null: zeros
        size_t bytes;
    };
    unsigned thread;  // that issued it
    std::vector<Row> rows;
};

using Clock = std::vector<uint32_t>;  // of threads, then of mbarriers

struct Mbarrier {
    uint32_t id;    // as a writer of words: after those of the threads
    size_t offset;  // in shared memory
    uint32_t count, pending;         // arrivals of a phase, and those that are still to come
    int64_t bytes = 0;               // expected and not yet copied
    uint32_t phases = 0;             // that are complete
    uint32_t initialised, initialiser;  // when and by which thread
    std::vector<BulkCopy> copies;    // under way
    Clock arriving, released;        // what the arrivals of this phase and of the complete ones know
    std::vector<unsigned> waiting;
};

constexpr unsigned MOST_MBARRIERS = 32;

// An accumulator that wgmmas under way add to. The thread's registers hold poison meanwhile.
struct Accumulator {
    float* registers;
    unsigned count;
    unsigned under_way = 0;
    std::vector<float> values;
};

// One wgmma of a warpgroup.
struct Multiplication {
    struct Part {
        Accumulator* sum;
        const uint32_t* registers;  // of A
        uint32_t a[4];              // what they held
    };
    uint64_t descriptor;  // of B
    unsigned columns;
    int line;
    unsigned arrived = 0, retired = 0;                // threads
    bool warps_arrived[4] = {}, warps_retired[4] = {};
    Part parts[128];
};

struct Warpgroup {
    std::deque<Multiplication> under_way;
    size_t begin = 0;           // number of the first of them
    size_t issued = 0, done = 0;  // by all threads; computed
    std::vector<unsigned> waiting;
};

// What lane deposits for an operation of its warp.
struct Deposit {
    const void* in = nullptr;
    void* out = nullptr;
};

struct Thread {
    bool done = false;
    int waits_at = 0;            // source line of the rendezvous it waits at
    const char* waits_for = "";  // its name
    std::vector<std::vector<Copy>> groups;  // committed groups of asynchronous copies, oldest first
    std::vector<Copy> open;                 // copies not yet committed
    Clock clock, warp_clock;       // the second: of each warp the least of its threads'
    bool lands = false;            // it was woken to let a bulk copy land
    uint32_t proxy_fence = 0;      // time of its last fence.proxy.async
    bool registers_fenced = false; // wgmma.fence since the last change of registers
    size_t multiplied = 0, retired = 0;     // wgmmas that it issued, and waited for
    std::vector<size_t> multiplied_groups;  // value of `multiplied` at each commit not yet waited for
    std::vector<std::unique_ptr<Accumulator>> accumulators;
};

struct Warp {
    uint32_t synced = 0;
    unsigned arrived = 0;
    const char* operation = nullptr;
    int line = 0;
    Deposit lanes[32];
};

class Device {
public:
    explicit Device(uint64_t seed) : random_(seed * 2 + 1) {}

    char* allocate(size_t bytes);
    bool upload(char* to, const void* from, size_t bytes);
    bool download(void* to, const char* from, size_t bytes);
    bool launch(const char* name, const unsigned grid[3], unsigned threads, size_t shared, const void* arguments, size_t size);
    const std::string& error() const { return error_; }

    // What kernels call, through emulated.hpp.
    unsigned thread() const { return thread_; }
    unsigned threads() const { return static_cast<unsigned>(block_.size()); }
    const unsigned* block() const { return block_index_; }
    unsigned grid_blocks() const { return grid_blocks_; }
    char* shared(size_t offset, size_t bytes);
    void read(const char* at, unsigned bytes);
    void write(char* at, unsigned bytes);
    void read_shared(const char* at, unsigned bytes) { check_read(*shared_, "shared", at, bytes); }
    void write_shared(char* at, unsigned bytes) { check_write(*shared_, "shared", at, bytes, false); }
    void raise(char* flag);
    void copy_async(char* to, const char* from, unsigned bytes, bool valid);
    void commit_async();
    void wait_async(unsigned groups);
    void mbarrier_init(char* at, uint32_t count);
    void mbarrier_arrive(char* at);
    void mbarrier_expect(char* at, uint32_t bytes);
    void mbarrier_wait(char* at, uint32_t parity, int line);
    void copy_bulk(char* to, const char* from, size_t bytes, char* mbarrier);
    void copy_tensor(char* to, const uint64_t map[16], const int32_t begin[4], char* mbarrier);
    void fence_proxy_async() { block_[thread_].proxy_fence = ++time_; }
    void wgmma(float* sum, unsigned columns, const uint32_t a[4], uint64_t descriptor, int line);
    void wgmma_fence() { block_[thread_].registers_fenced = true; }
    void wgmma_commit() { block_[thread_].multiplied_groups.push_back(block_[thread_].multiplied); }
    void wgmma_wait(unsigned groups, int line);
    void change_registers() { block_[thread_].registers_fenced = false; }
    void block_barrier(int line);
    // All lanes of the warp meet; the last to arrive computes `operation` for the whole warp.
    void warp_rendezvous(const char* name, int line, Deposit deposit, void (*operation)(Deposit lanes[32]), bool orders_memory);
    [[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 2, 3)));
    void run_thread();

private:
    Memory& find(const char* at, unsigned bytes);
    void check_read(Memory& memory, const char* space, const char* at, unsigned bytes);
    void check_write(Memory& memory, const char* space, char* at, unsigned bytes, bool lands);
    bool ordered(uint32_t time, uint32_t who) const;
    bool reads_ordered(size_t word) const;
    void begin_clocks();
    void learn(Thread& thread, const Clock& clock);
    void share_clocks(unsigned warp);
    Mbarrier& mbarrier(char* at);
    void complete_if_all_came(Mbarrier& barrier);
    void issue(Mbarrier& barrier, BulkCopy copy);
    void land(Mbarrier& barrier);
    bool let_one_land();
    void multiply(const Multiplication& multiplication);
    template <typename Visit>
    void for_each_core_matrix(uint64_t descriptor, unsigned columns, Visit visit);
    void suspend(const char* what, int line);
    void wake(unsigned first, unsigned count);
    bool run_block();
    bool stuck();
    bool all_landed();
    void refuse(const char* format, ...) __attribute__((format(printf, 2, 3)));
    uint32_t random() {
        random_ ^= random_ << 13;
        random_ ^= random_ >> 7;
        random_ ^= random_ << 17;
        return static_cast<uint32_t>(random_ >> 32);
    }

    std::vector<std::unique_ptr<Memory>> allocations_;
    Memory* recent_[4] = {};
    std::unique_ptr<Memory> shared_;
    std::string error_;
    uint64_t random_;

    Kernel kernel_ = {};
    alignas(64) char arguments_[4096];  // the most that a kernel may have
    Fibers fibers_;
    std::vector<Thread> block_;
    std::vector<Warp> warps_;
    std::vector<Warpgroup> warpgroups_;
    std::deque<Mbarrier> mbarriers_;
    Clock warp_reads_;  // for each word of shared memory and each warp the last read; kept, as clocks are, in blocks with mbarriers
    std::vector<unsigned> ready_;
    unsigned block_index_[3] = {}, grid_blocks_ = 0;
    unsigned thread_ = 0, arrived_ = 0, done_ = 0;
    bool failed_ = false;
    uint32_t time_ = 1;  // 1 is the host's time before the first launch
    uint32_t launch_begin_ = 0, block_begin_ = 0, last_barrier_ = 0;
};

// The device whose launch runs on this host thread.
extern thread_local Device* current __attribute__((tls_model("initial-exec")));

inline bool Device::ordered(uint32_t time, uint32_t who) const {
    if (time < launch_begin_) return true;
    if (time < block_begin_) return false;
    if (who == thread_ || time < last_barrier_) return true;
    unsigned warp = thread_ / 32;
    bool same_warp = who < MANY_IN_WARP ? who / 32 == warp : who == (MANY_IN_WARP | warp);
    if (same_warp && time < warps_[warp].synced) return true;
    const Clock& clock = block_[thread_].clock;
    return who < clock.size() && time < clock[who];
}

// Whether all reads of a word of shared memory by other warps are ordered before what the running thread does now.
inline bool Device::reads_ordered(size_t word) const {
    const Clock& known = block_[thread_].warp_clock;
    for (size_t warp = 0; warp < warps_.size(); ++warp) {
        uint32_t time = warp_reads_[word * warps_.size() + warp];
        if (warp != thread_ / 32 && time >= last_barrier_ && time >= known[warp]) return false;
    }
    return true;
}

inline void Device::check_read(Memory& memory, const char* space, const char* at, unsigned bytes) {
    size_t offset = at - memory.begin;
    for (size_t word = offset / 4; word <= (offset + bytes - 1) / 4; ++word) {
        Shadow& s = memory.shadow[word];
        if (s.written == 0) fail("reads %s memory that was never written, at byte %zu", space, word * 4);
        if (s.in_flight) fail("reads %s memory whose asynchronous copy was not waited for, at byte %zu", space, word * 4);
        if (!ordered(s.written, s.writer)) {
            if (s.writer >= threads()) fail("reads %s memory whose bulk copy it did not wait for, at byte %zu", space, word * 4);
            fail("reads %s memory at byte %zu that thread %u writes with no barrier between", space, word * 4, s.writer);
        }
        if (!mbarriers_.empty() && &memory == shared_.get()) warp_reads_[word * warps_.size() + thread_ / 32] = time_;
        if (s.last_read < launch_begin_) {
            s.first_read = s.last_read = time_;
            s.reader = thread_;
            continue;
        }
        if (s.reader != thread_) {
            unsigned warp = thread_ / 32;
            bool same_warp = s.reader < MANY_IN_WARP ? s.reader / 32 == warp : s.reader == (MANY_IN_WARP | warp);
            if (s.last_read < last_barrier_) s.reader = thread_;
            else s.reader = same_warp ? (MANY_IN_WARP | warp) : MANY;
        }
        s.last_read = time_;
    }
}

inline void Device::check_write(Memory& memory, const char* space, char* at, unsigned bytes, bool lands) {
    size_t offset = at - memory.begin;
    for (size_t word = offset / 4; word <= (offset + bytes - 1) / 4; ++word) {
        Shadow& s = memory.shadow[word];
        if (s.in_flight && !lands) fail("writes %s memory into which an asynchronous copy is under way, at byte %zu", space, word * 4);
        if (s.multiplied) fail("writes %s memory that a wgmma under way reads, at byte %zu", space, word * 4);
        if (s.written && !ordered(s.written, s.writer)) {
            if (s.writer >= threads()) fail("writes %s memory whose bulk copy it did not wait for, at byte %zu", space, word * 4);
            fail("writes %s memory at byte %zu that thread %u writes too, with no barrier between", space, word * 4, s.writer);
        }
        bool read = s.last_read >= launch_begin_ && s.last_read > 0;
        if (read && (!ordered(s.last_read, s.reader) || (s.first_read < block_begin_))) {
            bool clocked = !mbarriers_.empty() && &memory == shared_.get() && reads_ordered(word);
            uint32_t own = clocked ? warp_reads_[word * warps_.size() + thread_ / 32] : 0;
            if (!clocked || (own >= last_barrier_ && own >= warps_[thread_ / 32].synced && own >= block_[thread_].warp_clock[thread_ / 32])) {
                fail("writes %s memory at byte %zu that another thread reads with no barrier between", space, word * 4);
            }
        }
        s.written = time_;
        s.writer = thread_;
        s.first_read = s.last_read = 0;
    }
}

inline Memory& Device::find(const char* at, unsigned bytes) {
    for (Memory*& memory : recent_) {
        if (memory && memory->holds(at, bytes)) return *memory;
    }
    for (auto& memory : allocations_) {
        if (memory->holds(at, bytes)) {
            recent_[3] = recent_[2];
            recent_[2] = recent_[1];
            recent_[1] = recent_[0];
            return *(recent_[0] = memory.get());
        }
    }
    for (auto& memory : allocations_) {
        ptrdiff_t from = at - memory->begin;
        if (from >= -4096 && from <= static_cast<ptrdiff_t>(memory->bytes) + 4096) {
            fail("touches global memory out of bounds: %u bytes at byte %td of a buffer of %zu bytes", bytes, from, memory->bytes);
        }
    }
    fail("touches global memory out of bounds: %u bytes at %p, in no buffer", bytes, static_cast<const void*>(at));
}

inline void Device::read(const char* at, unsigned bytes) {
    check_read(find(at, bytes), "global", at, bytes);
}

inline void Device::write(char* at, unsigned bytes) {
    check_write(find(at, bytes), "global", at, bytes, false);
}

}  // namespace emulator
