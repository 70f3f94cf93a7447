-- `llmpool doc`: writes the documentation that the program carries: the manual
-- and the reference as Markdown, the man page, the words for shells. The build
-- calls it; so may packagers.

local embedded = require "llmpool.embedded"
local manpage = require "llmpool.manpage"
local reference = require "llmpool.reference"
local shellwords = require "llmpool.shellwords"

local OPTIONS = {
  { name = "man", text = "print the man page, llmpool(1)" },
  { name = "completion", value = "SHELL", text = "print bash's, zsh's or "
    .. "fish's completions" },
}

local function write(path, text)
  local file, message = io.open(path, "wb")
  if not file then return nil, message end
  local written, why = file:write(text)
  local closed, later = file:close() -- a full disk may show only here
  if written and closed then return true end
  return nil, ("%s: %s"):format(path, why or later)
end

-- One thing at a time; nil, or what is wrong.
local function misused(args)
  local asked = (args.man and 1 or 0) + (args.completion and 1 or 0) + #args
  if asked > 1 then
    return "one at a time: a directory, --man or --completion SHELL"
  elseif asked == 0 or args[1] == "" then
    return "into which directory? (doc DIRECTORY)"
  end
end

local function pages()
  local list = {}
  for _, name in ipairs(embedded.names()) do
    local page = name:match "^llmpool/doc/(.*)$"
    if page then list[#list + 1] = { page, embedded.text(name) } end
  end
  for _, page in ipairs(reference.pages()) do list[#list + 1] = page end
  return list
end

return {
  usage = "DIRECTORY | --man | --completion SHELL",
  words = "directories",
  summary = "write the manual, the man page, completions",
  hidden = true,
  details = [[
Writes the manual's pages and the reference, made from the annotations of all
public functions, into DIRECTORY, which must be there.
]],
  options = OPTIONS,
  run = function(args, host)
    local wrong = misused(args)
    if wrong then return nil, wrong end
    if args.man then
      host.out(manpage.text(host))
    elseif args.completion then
      local text, unknown = shellwords.text(args.completion, host)
      if not text then return nil, unknown end
      host.out(text)
    else
      for _, page in ipairs(pages()) do
        local ok, message = write(args[1] .. "/" .. page[1], page[2])
        if not ok then return nil, message end
      end
    end
  end,
}
