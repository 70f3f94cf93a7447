-- reference.lua: the reference as Markdown, made from the annotations: a page
-- for every file of lua/llmpool/meta (with those of a directory of its name, as
-- policy.lua and policy/), and one that lists them.

local annotations = require "llmpool.annotations"

local reference = {}

local function code(text) return "`" .. text .. "`" end

local function value_line(name, kind, text)
  return ("- %s%s%s"):format(name and "**" .. name .. "** " or "", code(kind),
    text ~= "" and ": " .. text or "")
end

local function function_lines(lines, item)
  lines[#lines + 1] = "### " .. code(annotations.call_of(item)) .. "\n"
  lines[#lines + 1] = item.text .. (item.async and " *(may wait)*" or "")
    .. "\n"
  for _, param in ipairs(item.params) do
    lines[#lines + 1] = value_line(param.name .. (param.optional
      and " (optional)" or ""), param.type, param.text)
  end
  if #item.returns > 0 then
    if #item.params > 0 then lines[#lines + 1] = "" end
    lines[#lines + 1] = "Returns:\n"
    for _, value in ipairs(item.returns) do
      lines[#lines + 1] = value_line(value.name, value.type, value.text)
    end
  end
  lines[#lines + 1] = ""
end

local function class_lines(lines, item)
  lines[#lines + 1] = "## " .. item.name .. "\n"
  lines[#lines + 1] = item.text .. "\n"
  for _, field in ipairs(item.fields) do
    lines[#lines + 1] = value_line(field.name .. (field.optional
      and " (optional)" or ""), field.type, field.text)
  end
  if #item.fields > 0 then lines[#lines + 1] = "" end
end

local function page_name(item) return item.file:match "^[^.]+" end

-- The functions of a class follow it, in the file where they are; a class that
-- another file began is named again where its functions go on.
local function page_of(page, items)
  local lines = { ("# Reference: %s\n"):format(page) }
  local of_class, order = {}, {}
  for _, item in ipairs(items) do
    local is_own = item.kind == "class" or item.module
    local name = is_own and item.name or item.class
    if page_name(item) == page or item.kind == "class" and of_class[name] then
      if not of_class[name] then
        of_class[name] = {}
        order[#order + 1] = name
      end
      table.insert(of_class[name], item)
    end
  end
  for _, name in ipairs(order) do
    local class
    for _, item in ipairs(of_class[name]) do
      if item.kind == "class" then
        class_lines(lines, item)
        class = name
      else
        if class ~= name then lines[#lines + 1] = "## " .. name .. "\n" end
        class = name
        function_lines(lines, item)
      end
    end
  end
  return table.concat(lines, "\n")
end

local function page_names(items)
  local names, seen = {}, {}
  for _, item in ipairs(items) do
    local name = page_name(item)
    if not seen[name] then
      seen[name] = true
      names[#names + 1] = name
    end
  end
  return names
end

local function contents(pages, items)
  local lines = { "# Reference\n" }
  for _, page in ipairs(pages) do
    lines[#lines + 1] = ("\n## [%s](reference-%s.md)\n"):format(page, page)
    for _, item in ipairs(items) do
      if page_name(item) == page and item.kind == "function" then
        local flat = item.text:gsub("\n", " ")
        lines[#lines + 1] = ("- %s: %s"):format(
          code(annotations.call_of(item)), flat:match "^(.-[%.:])%s" or flat)
      end
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

--- The pages: list of {file's name, text}.
function reference.pages()
  local items = annotations.all()
  local names = page_names(items)
  local pages = { { "reference.md", contents(names, items) } }
  for _, name in ipairs(names) do
    pages[#pages + 1] = { ("reference-%s.md"):format(name),
                          page_of(name, items) }
  end
  return pages
end

return reference
