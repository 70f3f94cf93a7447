# What the build needs from the system, each found by pkg-config. What is
# missing is named with the Debian package that brings it, and the build stops.

find_package(Threads REQUIRED)
find_package(PkgConfig)
if(NOT PKG_CONFIG_FOUND)
  message(FATAL_ERROR
    "pkg-config is missing. On Debian: apt-get install pkg-config")
endif()

# Makes PkgConfig::<prefix> from the pkg-config module, or stops.
function(need_package prefix module package)
  pkg_check_modules(${prefix} QUIET IMPORTED_TARGET GLOBAL ${module})
  if(NOT ${prefix}_FOUND)
    message(FATAL_ERROR
      "${module} is missing. On Debian: apt-get install ${package}")
  endif()
  message(STATUS "Found ${module} ${${prefix}_VERSION}")
endfunction()

need_package(LUA lua5.4 liblua5.4-dev)
need_package(UV libuv libuv1-dev)
if(LLMPOOL_TESTS)
  need_package(CMOCKA cmocka libcmocka-dev)
endif()

set(WITH_READLINE OFF)
if(LLMPOOL_READLINE)
  pkg_check_modules(READLINE QUIET IMPORTED_TARGET GLOBAL readline)
  if(READLINE_FOUND)
    message(STATUS "Found readline ${READLINE_VERSION}")
    set(WITH_READLINE ON)
  else()
    message(STATUS
      "No readline (Debian: libreadline-dev): the prompt edits no lines")
  endif()
endif()

# libcurl 7.80 tells when a connection stands, so that each wait has a timeout
# of its own.
set(WITH_HTTP OFF)
if(LLMPOOL_HTTP)
  pkg_check_modules(CURL QUIET IMPORTED_TARGET GLOBAL libcurl>=7.80)
  if(CURL_FOUND)
    message(STATUS "Found libcurl ${CURL_VERSION}")
    set(WITH_HTTP ON)
  else()
    message(STATUS "No libcurl (Debian: libcurl4-openssl-dev): llmpool.http is "
                   "not built, and real clients have no way out")
  endif()
endif()

# Lua's headers without its library: the module finds the symbols in whatever
# interpreter loads it.
add_library(lua_headers INTERFACE)
target_include_directories(lua_headers SYSTEM INTERFACE ${LUA_INCLUDE_DIRS})
