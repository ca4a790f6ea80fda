#include "kernels/cuda/cast.cuh"
