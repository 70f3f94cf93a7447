# cpack: a Debian package of what is installed. What it depends on is found by
# dpkg-shlibdeps from what the program and its modules are linked with.

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME llmpool)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY
    "Lua with a pool that lends LLM clients to many callers")
set(CPACK_PACKAGE_DESCRIPTION
"A drop-in lua 5.4 with a pool of LLM clients (API keys, connections), lent to
one caller per client at a time; routing policies as Lua scripts, and a
simulator that tries them on a day of traffic in a second. Also a module for
a plain lua5.4 and a C library.")
set(CPACK_PACKAGE_CONTACT "The llmpool authors <llmpool@localhost>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_CURRENT_SOURCE_DIR}/LICENSE)
set(CPACK_STRIP_FILES ON)
set(CPACK_PRE_BUILD_SCRIPTS
    ${CMAKE_CURRENT_SOURCE_DIR}/scripts/cmake/debian.cmake)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION interpreters)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON) # and ldconfig's trigger
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS ca-certificates) # for https
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "lua-busted, lua5.4")
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
include(CPack)
