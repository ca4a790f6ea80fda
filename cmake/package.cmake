# The library as others see it: libonnxray.so holds all rooms and links our dependencies privately, the headers lie under
# <onnxray/...>, and find_package(onnxray) gives onnxray::onnxray without asking for anything else.
include(CMakePackageConfigHelpers)

set(objects)
set(libraries)
foreach(room onnxray_engine onnxray_cpu onnxray_import onnxray_algorithms onnxray_lrp onnxray_api)
  if(TARGET ${room})
    list(APPEND objects $<TARGET_OBJECTS:${room}>)
    get_target_property(links ${room} LINK_LIBRARIES)
    list(APPEND libraries ${links})
  endif()
endforeach()
list(FILTER libraries EXCLUDE REGEX "^onnxray_")  # the rooms themselves, whose objects are in already
list(REMOVE_DUPLICATES libraries)

add_library(onnxray SHARED ${objects})
add_library(onnxray::onnxray ALIAS onnxray)
set_target_properties(onnxray PROPERTIES
  LINKER_LANGUAGE CXX
  VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
target_link_libraries(onnxray PRIVATE ${libraries})
if(ONNXRAY_SANITIZE)
  target_link_options(onnxray PRIVATE -fsanitize=${sanitizers})
endif()
target_compile_features(onnxray INTERFACE cxx_std_20)
# Only our own names leave the library: a program may hold another oneDNN or protobuf.
target_link_options(onnxray PRIVATE -Wl,--version-script=${CMAKE_CURRENT_LIST_DIR}/exports.map)
set_target_properties(onnxray PROPERTIES LINK_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/exports.map)

# In the build tree <onnxray/onnxray.h> leads to api/onnxray.h and our headers include each other from the root.
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/include/onnxray/onnxray.h CONTENT "#include \"api/onnxray.h\"\n")
target_include_directories(onnxray INTERFACE
  $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

install(TARGETS onnxray EXPORT onnxray LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library)
install(EXPORT onnxray FILE onnxrayTargets.cmake NAMESPACE onnxray::
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/onnxray COMPONENT library)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/onnxrayConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/onnxrayConfig.cmake ${PROJECT_BINARY_DIR}/onnxrayConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/onnxray COMPONENT library)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT library)
if(TARGET onnxray_cli)
  install(TARGETS onnxray_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT command)
endif()
install(CODE "set(source [[${PROJECT_SOURCE_DIR}]])
set(lrp [[${ONNXRAY_LRP}]])
set(staging [[${PROJECT_BINARY_DIR}/installed_headers]])
set(include_folder [[${CMAKE_INSTALL_INCLUDEDIR}]])
include([[${CMAKE_CURRENT_LIST_DIR}/install_headers.cmake]])" COMPONENT library)
