// All kernels as one translation unit: build.rs compiles it to one fatbin, and for the emulated device to one object.
#include "conv.cu"
#include "conv_f16.cu"
#include "dice.cu"
#include "down.cu"
#include "head.cu"
#include "input.cu"
#include "pointwise.cu"
#include "up.cu"
