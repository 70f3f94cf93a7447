# The floors of src/, each compiled once into objects: core, runtime + lua
# (with the Lua files of lua/ inside), host.

add_compile_options(
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wvla
  -fno-semantic-interposition # our own calls need no detour in a .so
  -fno-plt)                   # nor those into liblua: a lease makes twenty
if(LLMPOOL_WERROR)
  add_compile_options(-Werror)
endif()
if(LLMPOOL_LTO)
  include(CheckIPOSupported)
  check_ipo_supported(RESULT has_lto LANGUAGES C)
  if(has_lto) # fat: the static library serves other compilers too
    add_compile_options(-flto=auto -ffat-lto-objects)
    add_link_options(-flto=auto)
  endif()
endif()
if(LLMPOOL_CHECKS)
  add_compile_options(-UNDEBUG)
  add_compile_definitions(LLM_CHECKS)
endif()
if(LLMPOOL_SANITIZE)
  add_compile_options(-fsanitize=${LLMPOOL_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${LLMPOOL_SANITIZE})
endif()

# Where `target` finds its "quoted" headers. No -I: a header of ours would hide
# the system's of the same name (sched.h).
function(quote_from target)
  foreach(directory IN LISTS ARGN)
    target_compile_options(${target} PRIVATE
      "SHELL:-iquote \"${CMAKE_CURRENT_SOURCE_DIR}/${directory}\"")
  endforeach()
endfunction()

file(GLOB core_sources CONFIGURE_DEPENDS src/core/*.c)
file(GLOB runtime_sources CONFIGURE_DEPENDS src/runtime/*.c src/lua/*.c)
file(GLOB host_sources CONFIGURE_DEPENDS src/host/*.c)
file(GLOB_RECURSE lua_files CONFIGURE_DEPENDS lua/*.lua lua/*.md)

# The Lua files as one generated C file. The list is a file of its own, changed
# only when the set of files does, so that a removed file is noticed too.
list(JOIN lua_files "\n" lua_list)
file(CONFIGURE OUTPUT embedded.list CONTENT "${lua_list}\n" @ONLY)
set(embedded_c ${CMAKE_CURRENT_BINARY_DIR}/embedded.c)
add_custom_command(
  OUTPUT ${embedded_c}
  COMMAND ${CMAKE_COMMAND} -DROOT=${CMAKE_CURRENT_SOURCE_DIR}/lua
          -DLIST=${CMAKE_CURRENT_BINARY_DIR}/embedded.list -DOUT=${embedded_c}
          -P ${CMAKE_CURRENT_SOURCE_DIR}/scripts/cmake/embed.cmake
  DEPENDS ${lua_files} ${CMAKE_CURRENT_BINARY_DIR}/embedded.list
          scripts/cmake/embed.cmake
  COMMENT "Embedding the Lua files"
  VERBATIM)
# Several targets compile it: made by one of them while another reads it, it
# would be half a file.
add_custom_target(embedded DEPENDS ${embedded_c})

add_library(core OBJECT ${core_sources})
target_link_libraries(core PUBLIC Threads::Threads)

add_library(runtime OBJECT ${runtime_sources} ${embedded_c})
add_dependencies(runtime embedded)
quote_from(runtime src/lua) # for embedded.c, which lies elsewhere
if(IS_ABSOLUTE ${LLMPOOL_LUA_CMOD})
  set(modules_from_program ${LLMPOOL_LUA_CMOD})
else()
  file(RELATIVE_PATH modules_from_program
    /prefix/${CMAKE_INSTALL_BINDIR} /prefix/${LLMPOOL_LUA_CMOD})
endif()
target_compile_definitions(runtime PRIVATE
  LLMPOOL_VERSION="${PROJECT_VERSION}"
  LLMPOOL_MODULES_FROM_PROGRAM="${modules_from_program}")
target_link_libraries(runtime PUBLIC
  lua_headers PkgConfig::UV Threads::Threads ${CMAKE_DL_LIBS})

if(NOT WITH_READLINE)
  list(FILTER host_sources EXCLUDE REGEX "/lineedit_readline\\.c$")
endif()
add_library(host OBJECT ${host_sources})
target_compile_definitions(host PRIVATE
  LLMPOOL_VERSION="${PROJECT_VERSION}"
  $<$<BOOL:${WITH_READLINE}>:LLMPOOL_READLINE>)
target_link_libraries(host PUBLIC lua_headers PkgConfig::UV)

# The HTTP client, into a module of its own: only what uses it loads libcurl.
if(WITH_HTTP)
  file(GLOB net_sources CONFIGURE_DEPENDS src/net/*.c)
  add_library(net OBJECT ${net_sources})
  target_compile_definitions(net PRIVATE LLMPOOL_VERSION="${PROJECT_VERSION}")
  target_link_libraries(net PUBLIC
    lua_headers PkgConfig::UV PkgConfig::CURL Threads::Threads)
endif()
