-- `llmpool run`: what help says of it; the program itself does it, before it
-- has a Lua state.

return {
  usage = "SCRIPT [ARGS]",
  words = "scripts",
  summary = "run a Lua script, whatever its name",
  details = [[
SCRIPT is a file, or - for standard input. The script finds ARGS in
`...` and in the table `arg`. Options of the program go before `run`.
The program ends when the script and all tasks that it has spawned
have ended; its status is 1 if one of them failed.
]],
}
