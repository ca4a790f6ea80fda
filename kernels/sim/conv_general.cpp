#include "kernels/cuda/conv_general.cuh"
