# Everything comes from the distribution's packages and is linked privately.
if(ONNXRAY_FUZZ)
  # One thread: findings repeat, and clang's own OpenMP runtime is not needed.
  add_library(OpenMP::OpenMP_CXX INTERFACE IMPORTED)
else()
  find_package(OpenMP REQUIRED COMPONENTS CXX)
endif()
find_package(Threads REQUIRED)
find_package(Protobuf REQUIRED)
find_package(PNG REQUIRED)
find_package(JPEG REQUIRED)

# oneDNN by path: its CMake package on Debian asks for OpenCL.
find_path(ONNXRAY_DNNL_INCLUDE dnnl.hpp REQUIRED)
find_library(ONNXRAY_DNNL_LIBRARY dnnl REQUIRED)
add_library(onnxray_dnnl INTERFACE)
add_library(onnxray::dnnl ALIAS onnxray_dnnl)
target_include_directories(onnxray_dnnl SYSTEM INTERFACE ${ONNXRAY_DNNL_INCLUDE})
target_link_libraries(onnxray_dnnl INTERFACE ${ONNXRAY_DNNL_LIBRARY})

# Our own statement of the ONNX wire format.
set(ONNXRAY_PROTO_DIR ${CMAKE_CURRENT_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${ONNXRAY_PROTO_DIR}/onnx_import)
add_custom_command(
  OUTPUT ${ONNXRAY_PROTO_DIR}/onnx_import/onnx.pb.cc ${ONNXRAY_PROTO_DIR}/onnx_import/onnx.pb.h
  COMMAND ${Protobuf_PROTOC_EXECUTABLE} --cpp_out=${ONNXRAY_PROTO_DIR} -I${CMAKE_CURRENT_SOURCE_DIR}
          ${CMAKE_CURRENT_SOURCE_DIR}/onnx_import/onnx.proto
  DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/onnx_import/onnx.proto)
add_library(onnxray_onnx_proto STATIC ${ONNXRAY_PROTO_DIR}/onnx_import/onnx.pb.cc)
add_library(onnxray::onnx_proto ALIAS onnxray_onnx_proto)
target_include_directories(onnxray_onnx_proto SYSTEM PUBLIC ${ONNXRAY_PROTO_DIR} ${Protobuf_INCLUDE_DIRS})
target_link_libraries(onnxray_onnx_proto PUBLIC ${Protobuf_LITE_LIBRARIES} Threads::Threads)
# Its symbols stay inside the library: a program may link another statement of the same format.
set_target_properties(onnxray_onnx_proto PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)

# Headers alone.
find_path(ONNXRAY_STB_INCLUDE stb_image_write.h PATH_SUFFIXES stb REQUIRED)
add_library(onnxray_stb INTERFACE)
add_library(onnxray::stb ALIAS onnxray_stb)
target_include_directories(onnxray_stb SYSTEM INTERFACE ${ONNXRAY_STB_INCLUDE})
find_path(ONNXRAY_JSON_INCLUDE nlohmann/json.hpp REQUIRED)
add_library(onnxray_json INTERFACE)
add_library(onnxray::json ALIAS onnxray_json)
target_include_directories(onnxray_json SYSTEM INTERFACE ${ONNXRAY_JSON_INCLUDE})
find_path(ONNXRAY_EIGEN_INCLUDE Eigen/Core PATH_SUFFIXES eigen3 REQUIRED)
add_library(onnxray_eigen INTERFACE)
add_library(onnxray::eigen ALIAS onnxray_eigen)
target_include_directories(onnxray_eigen SYSTEM INTERFACE ${ONNXRAY_EIGEN_INCLUDE})
# Its own threads would make sums depend on their number.
target_compile_definitions(onnxray_eigen INTERFACE EIGEN_DONT_PARALLELIZE)
