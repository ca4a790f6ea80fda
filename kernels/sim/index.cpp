#include "kernels/cuda/index.cuh"
