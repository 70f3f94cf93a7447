-- For `luarocks make scripts/llmpool-scm-0.rockspec` in a checkout: builds by
-- CMake and installs the program, the Lua module and the C library into the
-- rocks tree. It needs the packages that scripts/prepare.sh names.

rockspec_format = "3.0"
package = "llmpool"
version = "scm-0"

source = { url = "git+file://." }

description = {
  summary = "A pool that lends LLM clients, one caller per client at a time",
  detailed = [[
A pool of LLM clients (API keys, connections) for many callers, scripted in
Lua: tasks, routing policies, and a simulator that tries them in virtual time.
]],
  license = "MIT",
}

dependencies = { "lua >= 5.4, < 5.5" }

build = {
  type = "cmake",
  variables = {
    CMAKE_BUILD_TYPE = "RelWithDebInfo",
    CMAKE_INSTALL_PREFIX = "$(PREFIX)",
    LLMPOOL_LUA_CMOD = "lib",
    CMAKE_INSTALL_LIBDIR = "clib", -- what lies in lib is taken for Lua modules
  },
}
