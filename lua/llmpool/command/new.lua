-- `llmpool new`: a small project to start from. The files are templates.lua's;
-- this puts them where there is nothing yet.

local outfile = require "llmpool.outfile"
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

-- Makes a directory, which must not be there unless `how` is "-p"; raises if it
-- cannot.
local function make(directory, how)
  local pipe = io.popen(("mkdir %s %s 2>&1"):format(how or "", directory))
  local said = pipe:read "a"
  if pipe:close() then return end
  error(("cannot make the directory %s: %s"):format(directory,
    said:match ": ([^:\n]*)\n$" or "mkdir failed"), 0)
end

-- Writes the files, tells each; raises if one cannot be written. The copies of
-- the annotations are told together: they are many.
local function write_all(name, files, tell)
  local copies, made = 0, { [name] = true }
  for _, file in ipairs(files) do
    local directory = (name .. "/" .. file[1]):match "^(.*)/"
    if not made[directory] then make(directory, "-p") end
    made[directory] = true
    outfile.write(name .. "/" .. file[1], "the project", file[2])
    if file[1]:find "^meta/" then
      copies = copies + 1
    else
      tell(name .. "/" .. file[1])
    end
  end
  if copies > 0 then tell(name .. "/meta (annotations for editors)") end
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
    local made, why = pcall(make, name)
    if not made then return nil, why end
    local lines = {}
    local ok, message = pcall(write_all, name, templates.files(name,
      host.executable), function(path) lines[#lines + 1] = path end)
    if not ok then -- half a project is none, and all in it is ours
      os.execute("rm -rf " .. name)
      return nil, message
    end
    host.out(table.concat(lines, "\n") .. "\n")
  end,
}
