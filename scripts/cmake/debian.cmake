# Run by cpack on what it has installed to be packed: what Debian's policy asks
# of a package and of no other install - the man page compressed, a changelog of
# the package beside the project's own.

set(root ${CPACK_TEMPORARY_INSTALL_DIRECTORY}${CPACK_PACKAGING_INSTALL_PREFIX})
find_program(GZIP gzip)
if(NOT CPACK_GENERATOR STREQUAL "DEB" OR NOT GZIP)
  return()
endif()

string(TIMESTAMP now "%a, %d %b %Y %H:%M:%S +0000" UTC) # or SOURCE_DATE_EPOCH
set(changelog ${root}/share/doc/llmpool/changelog)
file(WRITE ${changelog}
"${CPACK_PACKAGE_NAME} (${CPACK_PACKAGE_VERSION}) unstable; urgency=medium

  * What has changed: see CHANGELOG.md.

 -- ${CPACK_PACKAGE_CONTACT}  ${now}
")

file(GLOB pages ${root}/share/man/man1/*.1)
execute_process(COMMAND ${GZIP} -9nf ${changelog} ${pages}
  COMMAND_ERROR_IS_FATAL ANY)
