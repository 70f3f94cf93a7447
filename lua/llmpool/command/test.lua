-- `llmpool test`: what help says of it; the program itself does it, before it
-- has a Lua state.

return {
  usage = "[ARGS]",
  words = "files",
  summary = "run busted specs under this program",
  details = [[
ARGS are busted's own, and so is `test --help`. It is the busted found
through PATH, with the settings of the file .busted.
]],
}
