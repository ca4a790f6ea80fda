# The CUDA backend: a module of its own, libonnxray_cuda.so, which api/device.cpp opens when a device is asked for. Nothing
# else depends on CUDA. The runtime library is linked statically, so the module needs the driver alone.
set(ONNXRAY_CUDA AUTO CACHE STRING "AUTO (where a toolkit is found), ON or OFF")
set_property(CACHE ONNXRAY_CUDA PROPERTY STRINGS AUTO ON OFF)
set(ONNXRAY_CUDA_ARCHITECTURES "80;90a-real" CACHE STRING "As CMAKE_CUDA_ARCHITECTURES; a number alone adds PTX, which newer devices compile for themselves")

# A module that api/device.cpp opens as --device KIND. What it contains stays its own: programs that open it may hold the
# same code in another version.
function(onnxray_device_module target kind)
  add_library(${target} MODULE ${ARGN})
  target_link_libraries(${target} PRIVATE onnxray_engine)
  target_compile_definitions(${target} PRIVATE ONNXRAY_VERSION="${PROJECT_VERSION}")
  set_target_properties(${target} PROPERTIES OUTPUT_NAME onnxray_${kind} PREFIX lib
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR} CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  target_link_options(${target} PRIVATE -Wl,--exclude-libs,ALL -Wl,--no-undefined)
endfunction()

if(ONNXRAY_CUDA STREQUAL "OFF" OR ONNXRAY_SANITIZE OR ONNXRAY_FUZZ)
  return()
endif()
# Leaves this file, saying why, where AUTO finds no toolkit that will do; an error where CUDA was asked for.
macro(onnxray_without_cuda why)
  if(NOT ONNXRAY_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "ONNXRAY_CUDA=${ONNXRAY_CUDA}: ${why}; scripts/cuda_toolkit.sh fetches a toolkit")
  endif()
  message(STATUS "CUDA: ${why}; building without (scripts/cuda_toolkit.sh fetches a toolkit)")
  return()
endmacro()
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  onnxray_without_cuda("no nvcc that compiles a program")
endif()
set(CMAKE_CUDA_ARCHITECTURES "${ONNXRAY_CUDA_ARCHITECTURES}")
if(ONNXRAY_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${ONNXRAY_CCACHE})
endif()
enable_language(CUDA)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.0)
  onnxray_without_cuda("nvcc ${CMAKE_CUDA_COMPILER_VERSION} has no C++20, 12.0 is needed")
endif()
find_package(CUDAToolkit)
if(NOT TARGET CUDA::cudart_static)
  onnxray_without_cuda("the toolkit of ${CMAKE_CUDA_COMPILER} lacks headers or libcudart_static.a")
endif()
if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc takes it
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()

file(GLOB cuda_sources CONFIGURE_DEPENDS kernels/cuda/*.cu kernels/cuda/module/*.cu)
add_library(onnxray_cuda_kernels OBJECT ${cuda_sources})
set(cuda_launcher ${PROJECT_SOURCE_DIR}/cmake/ptxas_report.sh ${CMAKE_CUDA_COMPILER_LAUNCHER})
target_include_directories(onnxray_cuda_kernels PRIVATE ${PROJECT_SOURCE_DIR})
set_target_properties(onnxray_cuda_kernels PROPERTIES CUDA_STANDARD 20 CUDA_VISIBILITY_PRESET hidden
  # What ptxas says about registers and spills stays beside each object, for scripts/kernel_budgets.py.
  CUDA_COMPILER_LAUNCHER "${cuda_launcher}")
target_compile_options(onnxray_cuda_kernels PRIVATE --expt-relaxed-constexpr -Xptxas=-v -Xcompiler=-Wall
  $<$<BOOL:${ONNXRAY_WERROR}>:-Werror=all-warnings>)

if("${ONNXRAY_CUDA_ARCHITECTURES}" MATCHES "90a")
  set_source_files_properties(kernels/cuda/module/probe.cu PROPERTIES COMPILE_DEFINITIONS ONNXRAY_SM90A)
endif()

file(GLOB cuda_steps CONFIGURE_DEPENDS kernels/cuda/*.cpp kernels/cuda/module/*.cpp)
onnxray_device_module(onnxray_cuda cuda ${cuda_steps} $<TARGET_OBJECTS:onnxray_cuda_kernels>)
target_link_libraries(onnxray_cuda PRIVATE CUDA::cudart_static)
install(TARGETS onnxray_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT cuda)
