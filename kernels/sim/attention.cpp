#include "kernels/cuda/attention.cuh"
