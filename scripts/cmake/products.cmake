# What is built from the floors: the C library (static and shared), the Lua
# module, the program.

# Only llm_* leaves the library and only luaopen_* the module: a script rather
# than attributes, so that the sources stay plain C.
function(export_only target pattern)
  set(map ${CMAKE_CURRENT_BINARY_DIR}/${target}.map)
  file(CONFIGURE OUTPUT ${map} CONTENT
       "{ global: ${pattern}; local: *; };\n" @ONLY)
  target_link_options(${target} PRIVATE -Wl,--version-script=${map})
  set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS ${map})
endfunction()

add_library(llmpool_static STATIC $<TARGET_OBJECTS:core>)
target_include_directories(llmpool_static INTERFACE src/core)
target_link_libraries(llmpool_static PUBLIC Threads::Threads)

add_library(llmpool_shared SHARED $<TARGET_OBJECTS:core>)
target_link_libraries(llmpool_shared PRIVATE Threads::Threads)
export_only(llmpool_shared "llm_*")
target_link_options(llmpool_shared PRIVATE -Wl,-z,defs) # nothing is left open

set_target_properties(llmpool_static llmpool_shared PROPERTIES
  OUTPUT_NAME llmpool
  LINKER_LANGUAGE C)
set_target_properties(llmpool_shared PROPERTIES
  VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR})

# The core goes in statically; liblua stays out: lua5.4 brings its own.
add_library(llmpool_module MODULE
  $<TARGET_OBJECTS:core> $<TARGET_OBJECTS:runtime>)
# never unloaded: a parker's destructor runs at the end of its thread
target_link_options(llmpool_module PRIVATE -Wl,-z,nodelete)
set_target_properties(llmpool_module PROPERTIES
  PREFIX ""
  OUTPUT_NAME llmpool
  LINKER_LANGUAGE C)
target_link_libraries(llmpool_module PRIVATE m
  PkgConfig::UV Threads::Threads ${CMAKE_DL_LIBS})
export_only(llmpool_module "luaopen_*")

# liblua is shared, and our symbols are visible (-rdynamic), so that C modules
# of Debian and of our own find one Lua and one pool in the process.
add_executable(llmpool
  $<TARGET_OBJECTS:core> $<TARGET_OBJECTS:runtime> $<TARGET_OBJECTS:host>)
set_target_properties(llmpool PROPERTIES
  ENABLE_EXPORTS ON
  LINKER_LANGUAGE C)
target_link_libraries(llmpool PRIVATE m
  PkgConfig::LUA PkgConfig::UV Threads::Threads ${CMAKE_DL_LIBS} m
  $<$<BOOL:${WITH_READLINE}>:PkgConfig::READLINE>)

# llmpool.http: it asks the interpreter for Lua and the registry for us. In the
# build the directory is not llmpool/, as that is the program.
if(WITH_HTTP)
  add_library(http_module MODULE $<TARGET_OBJECTS:net>)
  set_target_properties(http_module PROPERTIES
    PREFIX ""
    OUTPUT_NAME http
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/modules/llmpool
    LINKER_LANGUAGE C)
  target_link_options(http_module PRIVATE -Wl,-z,nodelete)
  target_link_libraries(http_module PRIVATE
    PkgConfig::UV PkgConfig::CURL Threads::Threads)
  export_only(http_module "luaopen_*")
endif()
