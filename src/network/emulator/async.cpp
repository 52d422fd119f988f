// The asynchronous instructions of sm_90 on the emulated device: mbarriers, bulk copies (TMA), wgmma.
#include "emulated.hpp"

namespace emulator {

// The first mbarrier of a block: from now on clocks are kept. What happened before is ordered by time alone.
void Device::begin_clocks() {
    for (Thread& thread : block_) {
        thread.clock.assign(threads() + MOST_MBARRIERS, 0);
        thread.warp_clock.assign(warps_.size(), 0);
    }
    warp_reads_.assign(shared_->shadow.size() * warps_.size(), 0);
    for (size_t word = 0; word < shared_->shadow.size(); ++word) {
        const Shadow& s = shared_->shadow[word];
        for (size_t warp = 0; warp < warps_.size(); ++warp) warp_reads_[word * warps_.size() + warp] = s.last_read;
    }
}

static void merge(Clock& into, const Clock& from) {
    if (into.empty()) into = from;
    else
        for (size_t n = 0; n < into.size(); ++n) into[n] = std::max(into[n], from[n]);
}

void Device::learn(Thread& thread, const Clock& clock) {
    merge(thread.clock, clock);
    for (size_t warp = 0; warp < warps_.size(); ++warp) {
        thread.warp_clock[warp] = *std::min_element(&thread.clock[32 * warp], &thread.clock[32 * warp] + 32);
    }
}

// __syncwarp: each lane knows what any lane knows, and all that they did.
void Device::share_clocks(unsigned warp) {
    Clock all(threads() + MOST_MBARRIERS, 0);
    for (unsigned lane = 32 * warp; lane < 32 * warp + 32; ++lane) merge(all, block_[lane].clock);
    for (unsigned lane = 32 * warp; lane < 32 * warp + 32; ++lane) all[lane] = time_;
    for (unsigned lane = 32 * warp; lane < 32 * warp + 32; ++lane) learn(block_[lane], all);
}

void Device::mbarrier_init(char* at, uint32_t count) {
    size_t offset = at - shared_->begin;
    if (offset % 8 != 0) fail("has an mbarrier at an unaligned address");
    for (const Mbarrier& barrier : mbarriers_) {
        if (barrier.offset == offset) fail("initialises the mbarrier at byte %zu twice", offset);
    }
    if (mbarriers_.empty()) begin_clocks();
    if (mbarriers_.size() == MOST_MBARRIERS) fail("has more than %u mbarriers", MOST_MBARRIERS);
    check_write(*shared_, "shared", at, 8, false);
    // No load, store or copy may touch it from now on.
    for (size_t word = offset / 4; word < offset / 4 + 2; ++word) shared_->shadow[word].in_flight = 1;
    Mbarrier barrier;
    barrier.id = static_cast<uint32_t>(threads() + mbarriers_.size());
    barrier.offset = offset;
    barrier.count = barrier.pending = count;
    barrier.initialised = time_;
    barrier.initialiser = thread_;
    mbarriers_.push_back(std::move(barrier));
}

Mbarrier& Device::mbarrier(char* at) {
    for (Mbarrier& barrier : mbarriers_) {
        if (barrier.offset != static_cast<size_t>(at - shared_->begin)) continue;
        if (!ordered(barrier.initialised, barrier.initialiser)) {
            fail("uses an mbarrier that thread %u initialises with no barrier between", barrier.initialiser);
        }
        return barrier;
    }
    fail("uses an mbarrier that was not initialised, at byte %td of shared memory", at - shared_->begin);
}

void Device::complete_if_all_came(Mbarrier& barrier) {
    if (barrier.pending > 0 || barrier.bytes != 0) return;
    ++barrier.phases;
    barrier.pending = barrier.count;
    merge(barrier.released, barrier.arriving);
    barrier.released[barrier.id] = ++time_;
    for (unsigned thread : barrier.waiting) wake(thread, 1);
    barrier.waiting.clear();
}

// mbarrier.arrive, with release semantics in the block.
void Device::mbarrier_arrive(char* at) {
    Mbarrier& barrier = mbarrier(at);
    Thread& thread = block_[thread_];
    thread.clock[thread_] = ++time_;
    merge(barrier.arriving, thread.clock);
    if (barrier.pending == 0) fail("arrives at an mbarrier at which all %u arrivals of the phase have come", barrier.count);
    --barrier.pending;
    complete_if_all_came(barrier);
}

// mbarrier.expect_tx
void Device::mbarrier_expect(char* at, uint32_t bytes) {
    mbarrier(at).bytes += bytes;
}

// mbarrier.try_wait.parity until it succeeds, with acquire semantics: waits for the end of the phase of this parity, be it the current one or
// the one before.
void Device::mbarrier_wait(char* at, uint32_t parity, int line) {
    Mbarrier& barrier = mbarrier(at);
    Thread& thread = block_[thread_];
    if (parity > 1) fail("waits for parity %u of an mbarrier", parity);
    while (barrier.phases % 2 == parity) {
        if (!barrier.copies.empty() && (thread.lands || random() % 4 == 0)) {
            thread.lands = false;
            land(barrier);
            continue;
        }
        barrier.waiting.push_back(thread_);
        suspend("mbarrier.try_wait", line);
    }
    thread.lands = false;
    if (!barrier.released.empty()) learn(thread, barrier.released);
}

// Wakes a thread that waits for bulk copies, to let one of them land.
bool Device::let_one_land() {
    size_t begin = mbarriers_.empty() ? 0 : random() % mbarriers_.size();
    for (size_t n = 0; n < mbarriers_.size(); ++n) {
        Mbarrier& barrier = mbarriers_[(begin + n) % mbarriers_.size()];
        if (barrier.waiting.empty() || barrier.copies.empty()) continue;
        unsigned thread = barrier.waiting.back();
        barrier.waiting.pop_back();
        block_[thread].lands = true;
        wake(thread, 1);
        return true;
    }
    return false;
}

void Device::issue(Mbarrier& barrier, BulkCopy copy) {
    if (block_[barrier.initialiser].proxy_fence <= barrier.initialised) {
        fail("copies with an mbarrier that no fence.proxy.async of thread %u showed to the async proxy", barrier.initialiser);
    }
    for (const BulkCopy::Row& row : copy.rows) {
        size_t first = (row.to - shared_->begin) / 4;
        for (size_t word = first; word < first + row.bytes / 4; ++word) {
            const Shadow& s = shared_->shadow[word];
            if (s.written && s.writer < threads() && !s.in_flight && block_[s.writer].proxy_fence <= s.written) {
                fail("copies over shared memory that the generic proxy wrote with no fence.proxy.async, at byte %zu", word * 4);
            }
        }
        // The copy may land at any time from now on, so now is when it must not race with anybody.
        check_write(*shared_, "shared", row.to, static_cast<unsigned>(row.bytes), false);
        for (size_t word = first; word < first + row.bytes / 4; ++word) shared_->shadow[word].in_flight = 1;
    }
    copy.thread = thread_;
    barrier.copies.push_back(std::move(copy));
}

// One of the copies, drawn at random, lands, and the mbarrier counts its bytes.
void Device::land(Mbarrier& barrier) {
    std::swap(barrier.copies[random() % barrier.copies.size()], barrier.copies.back());
    BulkCopy copy = std::move(barrier.copies.back());
    barrier.copies.pop_back();
    ++time_;
    for (const BulkCopy::Row& row : copy.rows) {
        if (row.from) {
            read(row.from, static_cast<unsigned>(row.bytes));
            std::memcpy(row.to, row.from, row.bytes);
        } else {
            std::memset(row.to, 0, row.bytes);
        }
        size_t first = (row.to - shared_->begin) / 4;
        for (size_t word = first; word < first + row.bytes / 4; ++word) {
            Shadow& s = shared_->shadow[word];
            s = Shadow();
            s.written = time_;
            s.writer = barrier.id;
            for (size_t warp = 0; warp < warps_.size(); ++warp) warp_reads_[word * warps_.size() + warp] = 0;
        }
        barrier.bytes -= static_cast<int64_t>(row.bytes);
    }
    complete_if_all_came(barrier);
}

// cp.async.bulk from global memory: addresses and size are multiples of 16.
void Device::copy_bulk(char* to, const char* from, size_t bytes, char* at) {
    if (reinterpret_cast<uintptr_t>(from) % 16 != 0 || (to - shared_->begin) % 16 != 0 || bytes % 16 != 0) {
        fail("cp.async.bulk with an address or a size that is no multiple of 16");
    }
    if (!shared_->holds(to, bytes)) fail("cp.async.bulk of %zu bytes to byte %td of shared memory, of which there are %zu", bytes, to - shared_->begin, shared_->bytes);
    issue(mbarrier(at), BulkCopy{0, {{to, from, bytes}}});
}

// cp.async.bulk.tensor, tile mode, 4 dimensions of 2-byte elements: the box at `begin`; what lies outside of the tensor is 0. The map is the
// emulated device's own (src/network/emulator/mod.rs encodes it): a mark, address, sizes, strides in bytes of all dimensions but the first, box.
void Device::copy_tensor(char* to, const uint64_t map[16], const int32_t begin[4], char* at) {
    if (map[0] != 0x6d617020746d61) fail("cp.async.bulk.tensor with what is no tensor map of this device");
    if ((to - shared_->begin) % 128 != 0) fail("cp.async.bulk.tensor to an address that is no multiple of 128");
    const char* tensor = reinterpret_cast<const char*>(map[1]);
    const uint64_t *sizes = map + 2, *strides = map + 6, *box = map + 9;
    size_t bytes = 2 * box[0] * box[1] * box[2] * box[3];
    if (!shared_->holds(to, bytes)) fail("cp.async.bulk.tensor of %zu bytes to byte %td of shared memory, of which there are %zu", bytes, to - shared_->begin, shared_->bytes);
    auto inside = [](int64_t x, uint64_t size) { return x >= 0 && static_cast<uint64_t>(x) < size; };
    // The part of a row inside of the tensor.
    int64_t low = std::min<int64_t>(std::max<int64_t>(-static_cast<int64_t>(begin[0]), 0), box[0]);
    int64_t high = std::max<int64_t>(std::min<int64_t>(static_cast<int64_t>(sizes[0]) - begin[0], box[0]), low);
    BulkCopy copy;
    for (uint64_t w = 0; w < box[3]; ++w) {
        for (uint64_t z = 0; z < box[2]; ++z) {
            for (uint64_t y = 0; y < box[1]; ++y, to += 2 * box[0]) {
                if (!inside(begin[1] + int64_t(y), sizes[1]) || !inside(begin[2] + int64_t(z), sizes[2]) || !inside(begin[3] + int64_t(w), sizes[3])) {
                    copy.rows.push_back({to, nullptr, 2 * box[0]});
                    continue;
                }
                const char* row = tensor + (begin[1] + y) * strides[0] + (begin[2] + z) * strides[1] + (begin[3] + w) * strides[2];
                if (low > 0) copy.rows.push_back({to, nullptr, size_t(2 * low)});
                if (high > low) copy.rows.push_back({to + 2 * low, row + 2 * (begin[0] + low), size_t(2 * (high - low))});
                if (high < int64_t(box[0])) copy.rows.push_back({to + 2 * high, nullptr, size_t(2 * (int64_t(box[0]) - high))});
            }
        }
    }
    issue(mbarrier(at), std::move(copy));
}

// Matrix descriptor without swizzle, K-major (PTX ISA, "Asynchronous warpgroup level matrix shared memory layout"): address, leading and
// stride byte offset, each divided by 16, in bits 0-13, 16-29 and 32-45. A core matrix is 8 rows of 16 bytes, 128 bytes together; the leading
// offset leads to the next one along K, the stride offset to the next one along N.
template <typename Visit>
void Device::for_each_core_matrix(uint64_t descriptor, unsigned columns, Visit visit) {
    if (descriptor & ~0x00003fff3fff3fffull) fail("wgmma with a matrix descriptor of a form that is not emulated: %llx", static_cast<unsigned long long>(descriptor));
    size_t start = (descriptor & 0x3fff) * 16, leading = (descriptor >> 16 & 0x3fff) * 16, stride = (descriptor >> 32 & 0x3fff) * 16;
    for (unsigned k = 0; k < 2; ++k) {
        for (unsigned n = 0; n < columns / 8; ++n) {
            size_t offset = start + k * leading + n * stride;
            if (offset + 128 > shared_->bytes) fail("wgmma reads byte %zu of shared memory, of which there are %zu", offset + 127, shared_->bytes);
            visit(k, n, offset);
        }
    }
}

// wgmma.mma_async.sync.aligned.m64nNk16.f32.f16.f16 with A in registers. Each warp of the warpgroup issues it in its own time; it is done
// no sooner than its results are waited for.
void Device::wgmma(float* sum, unsigned columns, const uint32_t a[4], uint64_t descriptor, int line) {
    Thread& thread = block_[thread_];
    Warpgroup& group = warpgroups_[thread_ / 128];
    if (!thread.registers_fenced) fail("wgmma with no wgmma.fence after its registers were written");
    size_t number = thread.multiplied++;
    if (number == group.begin + group.under_way.size()) {
        group.under_way.emplace_back();
        group.under_way.back().descriptor = descriptor;
        group.under_way.back().columns = columns;
        group.under_way.back().line = line;
    }
    Multiplication& it = group.under_way[number - group.begin];
    if (it.descriptor != descriptor || it.columns != columns || it.line != line) {
        fail("wgmma (line %d) differs from that of another thread of its warpgroup (line %d)", line, it.line);
    }
    bool& warp_arrived = it.warps_arrived[thread_ % 128 / 32];
    if (!warp_arrived) {
        warp_arrived = true;
        for_each_core_matrix(descriptor, columns, [&](unsigned, unsigned, size_t offset) {
            check_read(*shared_, "shared", shared_->begin + offset, 128);
            for (size_t word = offset / 4; word < offset / 4 + 32; ++word) {
                Shadow& s = shared_->shadow[word];
                if (s.writer < threads() && block_[s.writer].proxy_fence <= s.written) {
                    fail("wgmma reads shared memory that thread %u wrote with no fence.proxy.async, at byte %zu", s.writer, word * 4);
                }
                ++s.multiplied;
            }
        });
    }
    Accumulator* accumulator = nullptr;
    for (auto& candidate : thread.accumulators) {
        if (candidate->registers == sum && candidate->count == columns / 2) accumulator = candidate.get();
        else if (candidate->under_way && candidate->registers < sum + columns / 2 && sum < candidate->registers + candidate->count) {
            fail("wgmma adds to registers to which one of another shape adds");
        }
    }
    if (!accumulator) {
        thread.accumulators.push_back(std::make_unique<Accumulator>());
        accumulator = thread.accumulators.back().get();
        accumulator->registers = sum;
        accumulator->count = columns / 2;
    }
    if (accumulator->under_way++ == 0) {
        accumulator->values.assign(sum, sum + columns / 2);
        std::memset(sum, 0xff, columns / 2 * sizeof(float));
    }
    Multiplication::Part& part = it.parts[thread_ % 128];
    part.sum = accumulator;
    part.registers = a;
    std::memcpy(part.a, a, sizeof part.a);
    if (++it.arrived == 128) {
        ++group.issued;
        for (unsigned waiting : group.waiting) wake(waiting, 1);
        group.waiting.clear();
    }
}

// D += A B. Warp w of the warpgroup has rows 16 w to 16 w + 15, its fragments of A and D laid out as those of mma.m16n8k16, D in groups of 8
// columns (PTX ISA, "Matrix fragments for wgmma.mma_async.m64nNk16").
void Device::multiply(const Multiplication& it) {
    std::vector<float> b(16 * it.columns);
    for_each_core_matrix(it.descriptor, it.columns, [&](unsigned k, unsigned n, size_t offset) {
        for (unsigned row = 0; row < 8; ++row) {
            for (unsigned column = 0; column < 8; ++column) {
                uint16_t bits;
                std::memcpy(&bits, shared_->begin + offset + 16 * row + 2 * column, 2);
                b[(8 * k + column) * it.columns + 8 * n + row] = half_to_float(bits);
            }
        }
    });
    std::vector<float> d(16 * it.columns);
    for (unsigned warp = 0; warp < 4; ++warp) {
        float a[16][16];
        for (unsigned lane = 0; lane < 32; ++lane) {
            const Multiplication::Part& part = it.parts[32 * warp + lane];
            unsigned g = lane / 4, t = 2 * (lane % 4);
            for (unsigned r = 0; r < 4; ++r) {
                a[g + 8 * (r % 2)][t + 8 * (r / 2)] = half_to_float(static_cast<uint16_t>(part.a[r]));
                a[g + 8 * (r % 2)][t + 8 * (r / 2) + 1] = half_to_float(static_cast<uint16_t>(part.a[r] >> 16));
            }
            for (unsigned n = 0; n < part.sum->count; ++n) {
                d[(g + 8 * (n / 2 % 2)) * it.columns + 8 * (n / 4) + t + n % 2] = part.sum->values[n];
            }
        }
        for (unsigned m = 0; m < 16; ++m) {
            for (unsigned k = 0; k < 16; ++k) {
                for (unsigned n = 0; n < it.columns; ++n) d[m * it.columns + n] += a[m][k] * b[k * it.columns + n];
            }
        }
        for (unsigned lane = 0; lane < 32; ++lane) {
            const Multiplication::Part& part = it.parts[32 * warp + lane];
            unsigned g = lane / 4, t = 2 * (lane % 4);
            for (unsigned n = 0; n < part.sum->count; ++n) {
                part.sum->values[n] = d[(g + 8 * (n / 2 % 2)) * it.columns + 8 * (n / 4) + t + n % 2];
            }
        }
    }
}

// wgmma.wait_group: until at most `groups` of the thread's groups are under way. Its registers receive what the others computed.
void Device::wgmma_wait(unsigned groups, int line) {
    Thread& thread = block_[thread_];
    Warpgroup& group = warpgroups_[thread_ / 128];
    if (thread.multiplied_groups.size() <= groups) return;
    size_t end = thread.multiplied_groups[thread.multiplied_groups.size() - 1 - groups];
    while (group.issued < end) {
        group.waiting.push_back(thread_);
        suspend("wgmma.wait_group", line);
    }
    for (; group.done < end; ++group.done) multiply(group.under_way[group.done - group.begin]);
    for (; thread.retired < end; ++thread.retired) {
        Multiplication& it = group.under_way[thread.retired - group.begin];
        Multiplication::Part& part = it.parts[thread_ % 128];
        if (std::memcmp(part.registers, part.a, sizeof part.a) != 0) fail("writes registers that a wgmma under way reads (line %d)", it.line);
        if (--part.sum->under_way == 0) {
            for (unsigned n = 0; n < part.sum->count; ++n) {
                uint32_t bits;
                std::memcpy(&bits, part.sum->registers + n, 4);
                if (bits != 0xffffffff) fail("writes registers to which a wgmma under way adds (line %d)", it.line);
            }
            std::copy(part.sum->values.begin(), part.sum->values.end(), part.sum->registers);
        }
        bool& warp_retired = it.warps_retired[thread_ % 128 / 32];
        if (!warp_retired) {
            warp_retired = true;
            // It may have read until now.
            for_each_core_matrix(it.descriptor, it.columns, [&](unsigned, unsigned, size_t offset) {
                check_read(*shared_, "shared", shared_->begin + offset, 128);
                for (size_t word = offset / 4; word < offset / 4 + 32; ++word) --shared_->shadow[word].multiplied;
            });
        }
        if (++it.retired == 128) {
            // Threads retire in order, so this is the oldest one.
            group.under_way.pop_front();
            ++group.begin;
        }
    }
    thread.multiplied_groups.erase(thread.multiplied_groups.begin(), thread.multiplied_groups.end() - groups);
    thread.registers_fenced = false;
}

}  // namespace emulator
