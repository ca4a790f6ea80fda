#include "kernels/cuda/rows.cuh"
