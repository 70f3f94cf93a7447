# cmake -DROOT=lua -DLIST=embedded.list -DOUT=embedded.c -P embed.cmake
#
# Writes the files named in LIST, one a line, as byte arrays into one C file,
# as src/lua/embedded.h declares them: lua/llmpool/init.lua becomes the module
# "llmpool", lua/llmpool/a/b.lua becomes "llmpool.a.b"; what is no Lua (the
# manual's pages) keeps its path as its name.

file(STRINGS ${LIST} files)
list(SORT files)
set(arrays "")
set(table "")
set(number 0)

foreach(file IN LISTS files)
  file(RELATIVE_PATH path ${ROOT} ${file})
  set(module ${path})
  if(path MATCHES "\\.lua$")
    string(REGEX REPLACE "(/init)?\\.lua$" "" module ${path})
    string(REPLACE "/" "." module ${module})
  endif()

  file(READ ${file} bytes HEX)
  string(LENGTH "${bytes}" digits)
  math(EXPR length "${digits} / 2")
  # twelve bytes a line; the zero at the end counts for nothing but lets an
  # empty file be an array
  string(REGEX REPLACE "(........................)" "\\1\n" bytes "${bytes}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1, " bytes "${bytes}")

  string(APPEND arrays
    "static const unsigned char text_${number}[] = {\n${bytes}0\n};\n\n")
  string(APPEND table
    "  {\"${module}\", \"@${path}\", text_${number}, ${length}},\n")
  math(EXPR number "${number} + 1")
endforeach()

file(WRITE ${OUT}
  "/* Made by embed.cmake from the files under lua/. */\n"
  "#include \"embedded.h\"\n\n"
  "${arrays}"
  "const llmpool_embedded_file llmpool_embedded[] = {\n"
  "${table}"
  "  {0, 0, 0, 0},\n};\n")
