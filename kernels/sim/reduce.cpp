#include "kernels/cuda/reduce.cuh"
