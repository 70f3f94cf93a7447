std = "lua54"
max_line_length = 80
exclude_files = { "build" }

files["spec"] = { std = "+busted" }
files[".luacheckrc"] = { std = "+luacheckrc" }

-- Annotations: a name and a signature, no body.
files["lua/llmpool/meta"] = { ignore = { "211", "212", "241", "431", "631" } }
