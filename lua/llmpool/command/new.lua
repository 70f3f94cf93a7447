-- `llmpool new`: a small project to start from. The files are templates.lua's;
-- this puts them where there is nothing yet.

local templates = require "llmpool.templates"

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

-- The name is a directory's and goes through a shell: letters, digits, - and _.
local function bad_name(name)
  if name:find "/" then
    return ("'%s' is a path; say where by cd, and give a name"):format(name)
  elseif not name:find "^%a[%w_%-]*$" then
    return ("'%s' is no name for a project: a letter, then letters, digits, "
      .. "- and _"):format(name)
  elseif #name > 60 then
    return "the name is longer than 60 characters"
  end
end

local function write(path, text)
  local file, message = io.open(path, "wb")
  if not file then return nil, message end
  file:write(text)
  local ok, why = file:close()
  return ok, why
end

return {
  usage = "NAME",
  summary = "begin a project: routing, scenario, spec",
  details = [[
Makes the directory NAME with a program (main.lua), its models, a policy that
says where requests go, a scenario that tries it, a spec that tests it, and the
settings of busted and of editors. All of it runs at once:

  cd NAME
  llmpool main.lua              llmpool test
  llmpool sim scenario.lua      llmpool check main.lua

Nothing that exists is touched.
]],
  options = {},
  run = function(args, host)
    local name = args[1]
    if not name then return nil, "a project of which name? (new NAME)" end
    if args[2] then return nil, ("one name; what is '%s'?"):format(args[2]) end
    local wrong = bad_name(name)
    if wrong then return nil, wrong end
    if exists(name) then return nil, name .. " is there already" end
    for _, file in ipairs(templates.files(name, host.executable)) do
      local directory = (name .. "/" .. file[1]):match "^(.*)/"
      if not os.execute("mkdir -p " .. directory) then
        return nil, "cannot make the directory " .. directory
      end
      local ok, message = write(name .. "/" .. file[1], file[2])
      if not ok then return nil, message end
      host.out(("%s/%s\n"):format(name, file[1]))
    end
  end,
}
