// Fibers: stacks that run one at a time on one host thread and hand over to one another by name.
// x86-64 has its own switch of eight instructions; other machines use ucontext.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace emulator {

#if defined(__x86_64__)
// Saves the running stack in `save` and goes on with `load` (fiber.cpp).
extern "C" void ichor_switch_stack(void** save, void* load);
#endif

// The scheduler's own stack and one stack for each thread of a block. Below each stack lies a page that may not be touched.
class Fibers {
public:
    Fibers() = default;
    Fibers(const Fibers&) = delete;
    Fibers& operator=(const Fibers&) = delete;
    ~Fibers() { release(); }

    // Makes `count` fibers that will each begin in `entry`, which must never return. Stacks are kept from block to block.
    bool prepare(size_t count, void (*entry)()) {
        if (count > capacity_) {
            release();
            memory_ = static_cast<char*>(
                mmap(nullptr, count * STRIDE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
            if (memory_ == MAP_FAILED) {
                memory_ = nullptr;
                return false;
            }
            capacity_ = count;
            for (size_t n = 0; n < count; ++n) mprotect(memory_ + n * STRIDE, GUARD, PROT_NONE);
            states_ = static_cast<State*>(std::calloc(count, sizeof(State)));
            if (!states_) return false;
        }
#if defined(__SANITIZE_ADDRESS__)
        // A fiber never returns, so AddressSanitizer still guards the variables that the block before had on its stack.
        for (size_t n = 0; n < count; ++n) __asan_unpoison_memory_region(memory_ + n * STRIDE + GUARD, STRIDE - GUARD);
#endif
        for (size_t n = 0; n < count; ++n) begin(n, entry);
        return true;
    }

#if defined(__x86_64__)
    void run(size_t fiber) { ichor_switch_stack(&scheduler_, states_[fiber]); }
    void leave(size_t fiber) { ichor_switch_stack(&states_[fiber], scheduler_); }
#else
    void run(size_t fiber) { swapcontext(&scheduler_, &states_[fiber]); }
    void leave(size_t fiber) { swapcontext(&states_[fiber], &scheduler_); }
#endif

private:
    static constexpr size_t GUARD = 16384, STRIDE = 131072;

#if defined(__x86_64__)
    using State = void*;
    void begin(size_t n, void (*entry)()) {
        // As if `entry` had been called: a return address (never used) at 16 k + 8, below it `entry` and six registers.
        void** top = reinterpret_cast<void**>(memory_ + (n + 1) * STRIDE);
        *--top = nullptr;
        *--top = reinterpret_cast<void*>(entry);
        for (int r = 0; r < 6; ++r) *--top = nullptr;
        states_[n] = top;
    }
    void* scheduler_ = nullptr;
#else
    using State = ucontext_t;
    void begin(size_t n, void (*entry)()) {
        getcontext(&states_[n]);
        states_[n].uc_stack.ss_sp = memory_ + n * STRIDE + GUARD;
        states_[n].uc_stack.ss_size = STRIDE - GUARD;
        states_[n].uc_link = nullptr;
        makecontext(&states_[n], entry, 0);
    }
    ucontext_t scheduler_;
#endif

    void release() {
        if (memory_) munmap(memory_, capacity_ * STRIDE);
        std::free(states_);
        memory_ = nullptr;
        states_ = nullptr;
        capacity_ = 0;
    }

    char* memory_ = nullptr;
    State* states_ = nullptr;
    size_t capacity_ = 0;
};

}  // namespace emulator
