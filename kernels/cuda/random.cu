#include "kernels/cuda/random.cuh"
