#include "kernels/cuda/pool.cuh"
