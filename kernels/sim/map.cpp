#include "kernels/cuda/map.cuh"
