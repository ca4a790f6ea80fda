// What tells compilers how to vectorise a loop.
#pragma once

// Compiles a function for AVX-512, AVX2 and the baseline; the one that fits is chosen when the program starts.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define ONNXRAY_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define ONNXRAY_CLONES
#endif

// The iterations of the next loop are independent: an output is one of the inputs or overlaps none.
#if defined(__clang__)
#define ONNXRAY_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define ONNXRAY_INDEPENDENT _Pragma("GCC ivdep")
#endif
