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
  file:write(text)
  return file:close()
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
  summary = "write the manual, the man page, completions",
  hidden = true,
  details = [[
Writes the manual's pages and the reference, made from the annotations of all
public functions, into DIRECTORY, which must be there.
]],
  options = OPTIONS,
  run = function(args, host)
    if args.man then
      host.out(manpage.text(host))
    elseif args.completion then
      local text, wrong = shellwords.text(args.completion, host)
      if not text then return nil, wrong end
      host.out(text)
    elseif not args[1] then
      return nil, "into which directory? (doc DIRECTORY)"
    else
      for _, page in ipairs(pages()) do
        local ok, message = write(args[1] .. "/" .. page[1], page[2])
        if not ok then return nil, message end
      end
    end
  end,
}
