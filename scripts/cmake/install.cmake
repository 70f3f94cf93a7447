# cmake --install: the program, the Lua module where Debian's lua5.4 looks
# (lib/lua/5.4), the C library with its one header, pkg-config's file, the man
# page, completions, the manual. The Lua files travel inside the module and are
# not installed: a llmpool/init.lua in Lua's path would be found before it.
# Editors get the annotations.

install(TARGETS llmpool RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS llmpool_module LIBRARY DESTINATION ${LLMPOOL_LUA_CMOD})
if(WITH_HTTP)
  install(TARGETS http_module LIBRARY DESTINATION ${LLMPOOL_LUA_CMOD}/llmpool)
endif()
install(TARGETS llmpool_static llmpool_shared
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES src/core/llmpool.h src/core/llmpool_limits.h
              src/core/llmpool_peek.h
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY lua/llmpool/meta
  DESTINATION ${CMAKE_INSTALL_DATADIR}/llmpool)
if(WITH_DOCUMENTS)
  install(FILES ${man_page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  install(DIRECTORY ${document_dir}/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/manual
    FILES_MATCHING PATTERN "*.md")
  install(FILES ${completion_dir}/llmpool
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
  install(FILES ${completion_dir}/_llmpool
    DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
  install(FILES ${completion_dir}/llmpool.fish
    DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)
# The manual lies beside the README there.
file(READ README.md readme)
string(REPLACE "](lua/llmpool/doc/" "](manual/" readme "${readme}")
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/README.md "${readme}")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS README.md)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/README.md CHANGELOG.md
  DESTINATION ${CMAKE_INSTALL_DOCDIR})

file(RELATIVE_PATH up_to_prefix
  /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(scripts/cmake/llmpool.pc.in llmpool.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/llmpool.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
