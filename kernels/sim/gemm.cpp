#include "kernels/cuda/gemm.cuh"
