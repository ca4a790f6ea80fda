#include "kernels/cuda/elementwise.cuh"
