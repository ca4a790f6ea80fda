include("${CMAKE_CURRENT_LIST_DIR}/onnxrayTargets.cmake")
