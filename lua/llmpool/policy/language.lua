-- language.lua: what language a text is in, as far as a routing rule needs it:
-- by its script, else by the small words in it. Nil where neither says much.

local language = {}

-- first and last code point of a script that is one language's, nearly
local scripts = {
  { 0x3040, 0x30ff, "ja" }, { 0xac00, 0xd7af, "ko" }, { 0x4e00, 0x9fff, "zh" },
  { 0x0400, 0x04ff, "ru" }, { 0x0600, 0x06ff, "ar" }, { 0x0590, 0x05ff, "he" },
  { 0x0370, 0x03ff, "el" }, { 0x0900, 0x097f, "hi" }, { 0x0e00, 0x0e7f, "th" },
}

local words = {
  en = "the and is of to that in it for you with are this what how",
  de = "der die das und ist nicht ein eine zu wie ich mit auf was sie",
  fr = "le la les et est un une des que pour dans qui pas je comment",
  es = "el los las y es un una que por para con como del no se",
  it = "il gli e di un una che per con non come sono della mi lo",
  pt = "o os as e um uma que para com como do da em se mais",
  nl = "de het een en is van dat ik niet hoe met voor op wat zijn",
}

local language_of = {}
for code, list in pairs(words) do
  for word in list:gmatch "%S+" do
    language_of[word] = language_of[word] or {}
    table.insert(language_of[word], code)
  end
end

local LOOK = 400 -- bytes of the text that are looked at

local function by_script(text)
  local counts, kana = {}, false
  for _, code in utf8.codes(text) do
    for _, script in ipairs(scripts) do
      if code >= script[1] and code <= script[2] then
        local name = script[3]
        counts[name] = (counts[name] or 0) + 1
        kana = kana or name == "ja"
      end
    end
  end
  if kana then return "ja" end -- with Chinese characters in it or without
  local best
  for name, n in pairs(counts) do
    if n >= 3 and (not best or n > counts[best]
      or n == counts[best] and name < best) then
      best = name
    end
  end
  return best
end

local function by_words(text)
  local counts = {}
  for word in text:lower():gmatch "%a+" do
    for _, code in ipairs(language_of[word] or {}) do
      counts[code] = (counts[code] or 0) + 1
    end
  end
  local best
  for code, n in pairs(counts) do
    if not best or n > counts[best] or n == counts[best] and code < best then
      best = code
    end
  end
  return best
end

-- @return "en", "de", ... or nil
function language.of(text)
  text = text:sub(1, LOOK)
  local whole = utf8.len(text)
  while not whole and #text > 0 do -- cut inside a character
    text = text:sub(1, select(2, utf8.len(text)) - 1)
    whole = utf8.len(text)
  end
  return by_script(text) or by_words(text)
end

return language
