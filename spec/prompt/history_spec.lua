-- The prompt's history: what is written, how, and what never is.

local history = require "llmpool.prompt.history"

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "a"
  file:close()
  return text
end

-- Stands for the terminal: remembers, and appends as it does.
local function terminal()
  local self = { entries = {} }
  function self.remember(entry) self.entries[#self.entries + 1] = entry end
  function self.append(path, text)
    local file = io.open(path, "ab")
    if not file then return nil end
    file:write(text)
    return file:close()
  end
  return self
end

describe("the prompt's history", function()
  local path

  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  it("is kept from session to session", function()
    local first = history.open(terminal(), path)
    first.add "a = 1"
    first.add "for i = 1, 2 do\n  print '\\n'\nend"
    assert.same("a = 1\nfor i = 1, 2 do\\n  print '\\\\n'\\nend\n", read(path))
    local t = terminal()
    history.open(t, path)
    assert.same({ "a = 1", "for i = 1, 2 do\n  print '\\n'\nend" }, t.entries)
  end)

  it("has nothing twice in a row, and nothing empty", function()
    local t = terminal()
    local h = history.open(t, path)
    for _, line in ipairs { "a", "a", "", "  ", "b", "a" } do h.add(line) end
    assert.same({ "a", "b", "a" }, t.entries)
    h = history.open(t, path)
    h.add "a"
    assert.same("a\nb\na\n", read(path))
  end)

  it("never writes down what is private", function()
    local t = terminal()
    local h = history.open(t, path)
    h.add [[c = llmpool.openai { api_key = "abc" }]]
    h.add " secret line"
    h.add [[f "sk-abcdefghijklmnop"]]
    h.add [[llmpool.openai { api_key = llmpool.secret "abc" }]]
    h.add [[llmpool.secret("abc")]]
    h.add [[c = llmpool.openai { api_key_env = "OPENAI_API_KEY" }]]
    assert.same([[c = llmpool.openai { api_key_env = "OPENAI_API_KEY" }]]
                .. "\n", read(path))
    assert.same(6, #t.entries) -- this session may have them again
  end)

  it("is cut when it gets long", function()
    local lines = {}
    for i = 1, 2500 do lines[i] = "line " .. i end
    local file <close> = io.open(path, "wb")
    file:write(table.concat(lines, "\n"), "\n")
    file:close()
    local t = terminal()
    history.open(t, path)
    assert.same(1000, #t.entries)
    assert.same("line 1501", t.entries[1])
    local _, count = read(path):gsub("\n", "")
    assert.same(1000, count)
  end)

  it("can be off", function()
    local t = terminal()
    function t.append() error "written" end
    history.open(t, nil).add "a"
    assert.same({ "a" }, t.entries)
  end)

  it("lies where such files lie", function()
    local function where(env)
      return history.path(function(name) return env[name] end)
    end
    assert.same("/s/llmpool/history", where { XDG_STATE_HOME = "/s",
                                              HOME = "/h" })
    assert.same("/h/.local/state/llmpool/history", where { HOME = "/h" })
    assert.same("/h/.local/state/llmpool/history",
                where { HOME = "/h", XDG_STATE_HOME = "relative" })
    assert.same("/x", where { LLMPOOL_HISTORY = "/x", HOME = "/h" })
    assert.is_nil(where { LLMPOOL_HISTORY = "", HOME = "/h" })
    assert.is_nil(where {})
  end)
end)
