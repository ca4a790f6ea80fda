#include "kernels/cpu/elementwise_loops.h"

#define ONNXRAY_LOOP_TYPE float
#define ONNXRAY_LOOP_CLONES ONNXRAY_CLONES
#include "kernels/cpu/elementwise_loops.inc"
