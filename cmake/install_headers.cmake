# Installs the public headers as <onnxray/...>. Their includes of each other are spelled from the repository's root
# ("engine/graph.h"); installed, they say <onnxray/engine/graph.h>, so that a program may have a folder engine/ of its own.
file(GLOB_RECURSE headers RELATIVE ${source} ${source}/engine/*.h ${source}/algorithms/*.h ${source}/api/*.h)
list(FILTER headers EXCLUDE REGEX "^engine/ops/")  # the op families' own
file(REMOVE_RECURSE ${staging})
foreach(header IN LISTS headers)
  file(READ ${source}/${header} text)
  string(REGEX REPLACE "#include \"api/([^\"]+)\"" "#include <onnxray/\\1>" text "${text}")
  string(REGEX REPLACE "#include \"((engine|algorithms)/[^\"]+)\"" "#include <onnxray/\\1>" text "${text}")
  if(text MATCHES "#include \"([^\"]+)\"")
    message(FATAL_ERROR "${header} is public and must not include ${CMAKE_MATCH_1}")
  endif()
  string(REGEX REPLACE "^api/" "" header ${header})
  file(WRITE ${staging}/onnxray/${header} "${text}")
endforeach()
if(NOT IS_ABSOLUTE ${include_folder})
  set(include_folder ${CMAKE_INSTALL_PREFIX}/${include_folder})
endif()
file(INSTALL ${staging}/onnxray DESTINATION ${include_folder})
