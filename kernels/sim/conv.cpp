#include "kernels/cuda/conv.cuh"
