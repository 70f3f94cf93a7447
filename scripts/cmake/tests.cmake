# The C tests: every spec/c/test_*.c is a cmocka program, every
# spec/c/stress_*.c takes --seconds and --seed. Both stand on floors with
# assertions and internal checks on; what a program does not use of them is
# not linked. Other files in spec/c are support for all. Every
# spec/support/*.c is a Lua module for the specs.

set(test_dir ${CMAKE_CURRENT_BINARY_DIR}/spec)

# checked_<floor>: the floor's objects, made again unless they have checks.
function(add_checked_floor floor)
  if(LLMPOOL_CHECKS)
    add_library(checked_${floor} STATIC $<TARGET_OBJECTS:${floor}>)
  else()
    add_library(checked_${floor} STATIC ${ARGN})
    target_compile_options(checked_${floor} PRIVATE -UNDEBUG)
    target_compile_definitions(checked_${floor} PRIVATE LLM_CHECKS)
    target_compile_definitions(checked_${floor} PRIVATE
      $<TARGET_PROPERTY:${floor},COMPILE_DEFINITIONS>)
    target_compile_options(checked_${floor} PRIVATE
      $<TARGET_PROPERTY:${floor},COMPILE_OPTIONS>)
    target_link_libraries(checked_${floor} PRIVATE lua_headers PkgConfig::UV)
  endif()
  set_target_properties(checked_${floor} PROPERTIES LINKER_LANGUAGE C)
endfunction()

add_checked_floor(core ${core_sources})
add_checked_floor(runtime ${runtime_sources} ${embedded_c})
add_dependencies(checked_runtime embedded)
target_link_libraries(checked_core PUBLIC Threads::Threads)
target_link_libraries(checked_runtime PUBLIC m
  checked_core PkgConfig::LUA PkgConfig::UV)

# Of src/net what needs no library.
add_library(checked_net STATIC src/net/sse.c)
target_compile_options(checked_net PRIVATE -UNDEBUG)

file(GLOB test_sources CONFIGURE_DEPENDS spec/c/test_*.c)
if(NOT WITH_HTTP)
  list(FILTER test_sources EXCLUDE REGEX "/test_http_[^/]*\\.c$")
endif()
file(GLOB stress_sources CONFIGURE_DEPENDS spec/c/stress_*.c)
file(GLOB test_support CONFIGURE_DEPENDS spec/c/*.c)
list(FILTER test_support EXCLUDE REGEX "/(test|stress)_[^/]*\\.c$")

function(add_test_program source)
  cmake_path(GET source STEM name)
  add_executable(${name} ${source} ${test_support})
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${test_dir})
  target_compile_options(${name} PRIVATE -UNDEBUG)
  target_compile_definitions(${name} PRIVATE LLM_CHECKS)
  quote_from(${name} spec/c src/core src/runtime src/net src/lua)
  target_link_options(${name} PRIVATE -Wl,--as-needed)
  target_link_libraries(${name} PRIVATE
    checked_runtime checked_core checked_net PkgConfig::CMOCKA ${CMAKE_DL_LIBS} m)
  add_test(NAME ${name} COMMAND ${name} ${ARGN})
endfunction()

foreach(source IN LISTS test_sources)
  add_test_program(${source})
endforeach()
# Their malloc and the like fail when they are told to.
target_link_options(test_lua_memory PRIVATE
  -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc)
if(WITH_HTTP)
  # All of src/net, beside the function that would load it as a module.
  target_sources(test_http_memory PRIVATE ${net_sources})
  target_compile_definitions(test_http_memory PRIVATE
    luaopen_llmpool_http=open_http LLMPOOL_VERSION="${PROJECT_VERSION}")
  target_link_options(test_http_memory PRIVATE
    -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup)
  target_link_libraries(test_http_memory PRIVATE PkgConfig::CURL)
endif()
foreach(source IN LISTS stress_sources)
  add_test_program(${source} --seconds 2 --seed 1)
endforeach()

file(GLOB module_sources CONFIGURE_DEPENDS spec/support/*.c)
foreach(source IN LISTS module_sources)
  cmake_path(GET source STEM name)
  add_library(spec_${name} MODULE ${source})
  set_target_properties(spec_${name} PROPERTIES
    PREFIX "" OUTPUT_NAME ${name} LIBRARY_OUTPUT_DIRECTORY ${test_dir})
  target_link_libraries(spec_${name} PRIVATE lua_headers Threads::Threads)
endforeach()
