# What the program itself writes of its documentation: the manual with the
# reference, the man page, completions for shells. Made by every build but the
# sanitizers', whose programs do not run everywhere.

set(document_dir ${CMAKE_CURRENT_BINARY_DIR}/doc)
set(man_page ${CMAKE_CURRENT_BINARY_DIR}/llmpool.1)
set(completion_dir ${CMAKE_CURRENT_BINARY_DIR}/completions)
set(WITH_DOCUMENTS ON)
if(LLMPOOL_SANITIZE OR CMAKE_CROSSCOMPILING)
  set(WITH_DOCUMENTS OFF)
  return()
endif()

file(MAKE_DIRECTORY ${document_dir} ${completion_dir})
set(document_stamp ${document_dir}/made)
add_custom_command(
  OUTPUT ${document_stamp}
  COMMAND llmpool -E doc ${document_dir}
  COMMAND llmpool -E doc --man > ${man_page}
  COMMAND llmpool -E doc --completion bash > ${completion_dir}/llmpool
  COMMAND llmpool -E doc --completion zsh > ${completion_dir}/_llmpool
  COMMAND llmpool -E doc --completion fish > ${completion_dir}/llmpool.fish
  COMMAND ${CMAKE_COMMAND} -E touch ${document_stamp}
  DEPENDS llmpool
  COMMENT "Writing the manual, the man page, completions"
  VERBATIM)
add_custom_target(documents ALL DEPENDS ${document_stamp})
