#include "kernels/cuda/logic.cuh"
