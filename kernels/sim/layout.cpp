#include "kernels/cuda/layout.cuh"
