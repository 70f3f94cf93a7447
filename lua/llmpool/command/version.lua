-- `llmpool version`: what help says of it; the program itself does it, before
-- it has a Lua state, but where words stand behind it.

return {
  is_option = true,
  usage = "",
  summary = "show the versions of the program and of Lua",
  details = [[
The same as --version, and as -v where nothing else is asked for.
]],
  options = {},
  most = 0,
  run = function(_, host)
    host.out(("llmpool %s\n%s\n"):format(host.version, _VERSION))
  end,
}
