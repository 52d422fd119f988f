// The emulated device's scheduler and its C interface, which device.rs calls.
#include "device.hpp"
#include <new>

namespace emulator {

thread_local Device* current __attribute__((tls_model("initial-exec"))) = nullptr;

void Device::refuse(const char* format, ...) {
    char text[512];
    va_list list;
    va_start(list, format);
    std::vsnprintf(text, sizeof text, format, list);
    va_end(list);
    error_ = text;
}

void Device::fail(const char* format, ...) {
    char text[512];
    va_list list;
    va_start(list, format);
    std::vsnprintf(text, sizeof text, format, list);
    va_end(list);
    char where[256];
    std::snprintf(where, sizeof where, "kernel %s, block (%u, %u, %u), thread %u: ", kernel_.name, block_index_[0], block_index_[1],
                  block_index_[2], thread_);
    error_ = std::string(where) + text;
    failed_ = true;
    fibers_.leave(thread_);
    std::abort();  // a failed fiber is never run again
}

char* Device::allocate(size_t bytes) {
    try {
        allocations_.push_back(std::make_unique<Memory>(bytes));
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
    return allocations_.back()->begin;
}

bool Device::upload(char* to, const void* from, size_t bytes) {
    for (auto& memory : allocations_) {
        if (!memory->holds(to, bytes)) continue;
        std::memcpy(to, from, bytes);
        size_t offset = to - memory->begin;
        for (size_t word = offset / 4; word < (offset + bytes + 3) / 4; ++word) {
            memory->shadow[word] = Shadow();
            memory->shadow[word].written = time_;
        }
        return true;
    }
    refuse("an upload of %zu bytes lies in no buffer of the device", bytes);
    return false;
}

bool Device::download(void* to, const char* from, size_t bytes) {
    for (auto& memory : allocations_) {
        if (!memory->holds(from, bytes)) continue;
        size_t offset = from - memory->begin;
        for (size_t word = offset / 4; word < (offset + bytes + 3) / 4; ++word) {
            if (memory->shadow[word].written == 0) {
                refuse("the host reads device memory that no kernel wrote, at byte %zu of a buffer of %zu bytes", word * 4, memory->bytes);
                return false;
            }
        }
        std::memcpy(to, from, bytes);
        return true;
    }
    refuse("a download of %zu bytes lies in no buffer of the device", bytes);
    return false;
}

char* Device::shared(size_t offset, size_t bytes) {
    if (offset > shared_->bytes || bytes > shared_->bytes - offset) {
        fail("wants %zu bytes of shared memory at byte %zu, but the launch gave %zu", bytes, offset, shared_->bytes);
    }
    return shared_->begin + offset;
}

// An atomic store of 1: bounds are checked, races are none.
void Device::raise(char* flag) {
    Memory& memory = find(flag, 4);
    memory.shadow[(flag - memory.begin) / 4].written = launch_begin_ - 1;
    uint32_t one = 1;
    std::memcpy(flag, &one, 4);
}

void Device::copy_async(char* to, const char* from, unsigned bytes, bool valid) {
    // The copy may land at any time from now on, so now is when it must not race with anybody.
    check_write(*shared_, "shared", to, bytes, false);
    if (valid) find(from, bytes);
    size_t offset = to - shared_->begin;
    for (size_t word = offset / 4; word < (offset + bytes) / 4; ++word) shared_->shadow[word].in_flight = 1;
    block_[thread_].open.push_back({shared_.get(), to, from, bytes, valid, false});
}

void Device::commit_async() {
    Thread& thread = block_[thread_];
    thread.groups.push_back(std::move(thread.open));
    thread.open.clear();
}

void Device::wait_async(unsigned groups) {
    Thread& thread = block_[thread_];
    while (thread.groups.size() > groups) {
        for (const Copy& copy : thread.groups.front()) {
            check_write(*copy.memory, "shared", copy.to, copy.bytes, true);
            if (copy.valid) {
                read(copy.from, copy.bytes);
                std::memcpy(copy.to, copy.from, copy.bytes);
            } else {
                std::memset(copy.to, 0, copy.bytes);
            }
            size_t offset = copy.to - copy.memory->begin;
            for (size_t word = offset / 4; word < (offset + copy.bytes) / 4; ++word) copy.memory->shadow[word].in_flight = 0;
        }
        thread.groups.erase(thread.groups.begin());
    }
}

void Device::suspend(const char* what, int line) {
    block_[thread_].waits_for = what;
    block_[thread_].waits_at = line;
    fibers_.leave(thread_);
}

// Makes threads first .. first + count ready, in an order drawn at random.
void Device::wake(unsigned first, unsigned count) {
    size_t begin = ready_.size();
    for (unsigned n = 0; n < count; ++n) ready_.push_back(first + n);
    for (size_t n = count; n > 1; --n) {
        // A random number below n without a division.
        std::swap(ready_[begin + n - 1], ready_[begin + (static_cast<uint64_t>(random()) * n >> 32)]);
    }
}

void Device::block_barrier(int line) {
    if (++arrived_ < threads()) {
        suspend("__syncthreads", line);
        return;
    }
    arrived_ = 0;
    last_barrier_ = ++time_;
    // The last to arrive waits for its turn as well.
    wake(0, threads());
    suspend("its turn", line);
}

void Device::warp_rendezvous(const char* name, int line, Deposit deposit, void (*operation)(Deposit lanes[32]), bool orders_memory) {
    Warp& warp = warps_[thread_ / 32];
    if (warp.arrived == 0) {
        warp.operation = name;
        warp.line = line;
    } else if (warp.operation != name || warp.line != line) {
        fail("is at %s (line %d) while another lane of its warp is at %s (line %d)", name, line, warp.operation, warp.line);
    }
    warp.lanes[thread_ % 32] = deposit;
    if (++warp.arrived < 32) {
        suspend(name, line);
        return;
    }
    warp.arrived = 0;
    if (operation) operation(warp.lanes);
    if (orders_memory) {
        warp.synced = ++time_;
        if (!mbarriers_.empty()) share_clocks(thread_ / 32);
    }
    wake(thread_ / 32 * 32, 32);
    suspend("its turn", line);
}

void Device::run_thread() {
    kernel_.run(arguments_);
    Thread& thread = block_[thread_];
    if (!thread.open.empty() || !thread.groups.empty()) fail("ends with asynchronous copies that it never waited for");
    if (thread.multiplied != thread.retired) fail("ends with wgmmas that it never waited for");
    thread.done = true;
    ++done_;
    fibers_.leave(thread_);
    std::abort();  // a finished fiber is never run again
}

bool Device::stuck() {
    for (unsigned n = 0; n < threads(); ++n) {
        if (block_[n].done) continue;
        thread_ = n;
        char text[256];
        std::snprintf(text, sizeof text,
                      "kernel %s, block (%u, %u, %u), thread %u: waits for ever at %s (line %d): %u of %u threads have ended, the others "
                      "never come",
                      kernel_.name, block_index_[0], block_index_[1], block_index_[2], n, block_[n].waits_for, block_[n].waits_at, done_,
                      threads());
        error_ = text;
        return false;
    }
    return true;
}

// A block that ends while a bulk copy is under way lets it write into the shared memory of the next one.
bool Device::all_landed() {
    for (const Mbarrier& barrier : mbarriers_) {
        if (barrier.copies.empty()) continue;
        refuse("kernel %s, block (%u, %u, %u), thread %u: ends with bulk copies that nobody waited for", kernel_.name, block_index_[0],
               block_index_[1], block_index_[2], barrier.copies[0].thread);
        return false;
    }
    return true;
}

bool Device::run_block() {
    block_begin_ = last_barrier_ = ++time_;
    std::memset(shared_->begin, 0xff, shared_->bytes);
    std::fill(shared_->shadow.begin(), shared_->shadow.end(), Shadow());
    for (Thread& thread : block_) thread = Thread();
    for (Warp& warp : warps_) warp = Warp();
    for (Warpgroup& group : warpgroups_) group = Warpgroup();
    mbarriers_.clear();
    arrived_ = done_ = 0;
    ready_.clear();
    if (!fibers_.prepare(threads(), [] { current->run_thread(); })) {
        refuse("no memory for the stacks of %u threads", threads());
        return false;
    }
    wake(0, threads());
    // Bulk copies land as late as possible: when no thread can go on.
    while (!ready_.empty() || let_one_land()) {
        thread_ = ready_.back();
        ready_.pop_back();
        fibers_.run(thread_);
        if (failed_) return false;
    }
    return stuck() && all_landed();
}

bool Device::launch(const char* name, const unsigned grid[3], unsigned threads, size_t shared, const void* arguments, size_t size) {
    const Kernel* kernel = nullptr;
    for (const Kernel& candidate : kernels()) {
        if (std::strcmp(candidate.name, name) == 0) kernel = &candidate;
    }
    if (!kernel) {
        refuse("there is no kernel %s", name);
        return false;
    }
    if (kernel->arguments != size) {
        refuse("kernel %s takes %zu bytes of arguments, not %zu", name, kernel->arguments, size);
        return false;
    }
    if (threads == 0 || threads % 32 != 0 || threads > 1024) {
        refuse("kernel %s: a block of %u threads is no whole number of warps up to 32", name, threads);
        return false;
    }
    kernel_ = *kernel;
    if (size > sizeof arguments_) {
        refuse("kernel %s: %zu bytes of arguments are more than %zu", name, size, sizeof arguments_);
        return false;
    }
    std::memcpy(arguments_, arguments, size);
    grid_blocks_ = grid[0];
    block_.resize(threads);
    warps_.resize(threads / 32);
    warpgroups_.resize((threads + 127) / 128);
    shared_ = std::make_unique<Memory>(shared);
    failed_ = false;
    launch_begin_ = ++time_;
    Device* before = current;
    current = this;
    bool good = true;
    // Blocks run one after another, in the reverse order half of the time.
    bool reverse = random() % 2;
    size_t blocks = static_cast<size_t>(grid[0]) * grid[1] * grid[2];
    for (size_t n = 0; n < blocks && good; ++n) {
        size_t block = reverse ? blocks - 1 - n : n;
        block_index_[0] = block % grid[0];
        block_index_[1] = block / grid[0] % grid[1];
        block_index_[2] = block / grid[0] / grid[1];
        good = run_block();
    }
    current = before;
    return good;
}

}  // namespace emulator

using emulator::Device;

extern "C" {

Device* ichor_emulator_create(uint64_t seed) {
    return new Device(seed);
}
void ichor_emulator_destroy(Device* device) {
    delete device;
}
const char* ichor_emulator_error(const Device* device) {
    return device->error().c_str();
}
uint64_t ichor_emulator_allocate(Device* device, size_t bytes) {
    return reinterpret_cast<uint64_t>(device->allocate(bytes));
}
int ichor_emulator_upload(Device* device, uint64_t to, const void* from, size_t bytes) {
    return device->upload(reinterpret_cast<char*>(to), from, bytes);
}
int ichor_emulator_download(Device* device, void* to, uint64_t from, size_t bytes) {
    return device->download(to, reinterpret_cast<const char*>(from), bytes);
}
int ichor_emulator_launch(Device* device, const char* name, const unsigned* grid, unsigned threads, size_t shared, const void* arguments,
                          size_t size) {
    return device->launch(name, grid, threads, shared, arguments, size);
}
}
