#include "kernels/cuda/norm.cuh"
