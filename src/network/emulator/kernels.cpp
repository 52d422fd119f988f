// The kernels, compiled for the host.
#include "device.hpp"

namespace emulator {

std::vector<Kernel>& kernels() {
    static std::vector<Kernel> list;
    return list;
}

}  // namespace emulator

#include "../../../kernels/ichor.cu"
#include "self_test.cu"
