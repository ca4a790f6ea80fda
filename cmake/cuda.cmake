# The CUDA backend: a module of its own, libonnxray_cuda.so, which api/device.cpp opens when a device is asked for. Nothing
# else depends on CUDA. The runtime library is linked statically, so the module needs the driver alone.
set(ONNXRAY_CUDA OFF CACHE STRING "AUTO (where nvcc is found), ON or OFF")
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
  target_link_options(${target} PRIVATE -Wl,--exclude-libs,ALL)
endfunction()

if(ONNXRAY_CUDA STREQUAL "OFF" OR ONNXRAY_SANITIZE OR ONNXRAY_FUZZ)
  return()
endif()
if(ONNXRAY_CUDA STREQUAL "AUTO")
  include(CheckLanguage)
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    message(STATUS "CUDA: no nvcc; building without (scripts/cuda_toolkit.sh fetches one)")
    return()
  endif()
endif()
set(CMAKE_CUDA_ARCHITECTURES "${ONNXRAY_CUDA_ARCHITECTURES}")
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc takes it
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()

file(GLOB cuda_sources CONFIGURE_DEPENDS kernels/cuda/*.cu)
add_library(onnxray_cuda_kernels OBJECT ${cuda_sources})
target_include_directories(onnxray_cuda_kernels PRIVATE ${PROJECT_SOURCE_DIR})
set_target_properties(onnxray_cuda_kernels PROPERTIES CUDA_STANDARD 20 CUDA_VISIBILITY_PRESET hidden)
target_compile_options(onnxray_cuda_kernels PRIVATE --expt-relaxed-constexpr -Xcompiler=-Wall)

file(GLOB cuda_steps CONFIGURE_DEPENDS kernels/cuda/*.cpp kernels/cuda/module/*.cpp)
onnxray_device_module(onnxray_cuda cuda ${cuda_steps} $<TARGET_OBJECTS:onnxray_cuda_kernels>)
target_link_libraries(onnxray_cuda PRIVATE CUDA::cudart_static)
install(TARGETS onnxray_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT cuda)
