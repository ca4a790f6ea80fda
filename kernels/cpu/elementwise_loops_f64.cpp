#include "kernels/cpu/elementwise_loops.h"

// The reference: one code for all machines.
#define ONNXRAY_LOOP_TYPE double
#define ONNXRAY_LOOP_CLONES
#include "kernels/cpu/elementwise_loops.inc"
