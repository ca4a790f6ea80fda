#include "kernels/cuda/patch.cuh"
