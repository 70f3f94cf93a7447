# The benchmark programs of scripts/bench, in <build>/bench. Each stands on the
# C library alone, and on the peers that are there.

pkg_check_modules(APR QUIET IMPORTED_TARGET GLOBAL apr-util-1 apr-1)

set(bench_source ${CMAKE_CURRENT_SOURCE_DIR}/scripts/bench)
set(bench_dir ${CMAKE_CURRENT_BINARY_DIR}/bench)
set(bench_subjects
  ${bench_source}/subject_pool.c ${bench_source}/subject_semaphore.c
  ${bench_source}/subject_handoff.c)
if(APR_FOUND)
  list(APPEND bench_subjects ${bench_source}/subject_reslist.c)
endif()

function(add_bench name)
  add_executable(bench_${name} ${bench_source}/${name}.c ${ARGN})
  set_target_properties(bench_${name} PROPERTIES
    OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${bench_dir})
  target_compile_definitions(bench_${name} PRIVATE _GNU_SOURCE)
  target_link_libraries(bench_${name} PRIVATE llmpool_static)
  if(APR_FOUND)
    target_compile_definitions(bench_${name} PRIVATE BENCH_APR)
    target_link_libraries(bench_${name} PRIVATE PkgConfig::APR)
  endif()
endfunction()

add_bench(pair ${bench_subjects})
add_bench(contention ${bench_subjects})
add_bench(handover ${bench_subjects})
add_bench(start)
add_bench(stream_server)
pkg_check_modules(BENCH_CURL QUIET IMPORTED_TARGET GLOBAL libcurl)
if(BENCH_CURL_FOUND)
  add_bench(curl_multi)
  target_link_libraries(bench_curl_multi PRIVATE PkgConfig::BENCH_CURL)
endif()
