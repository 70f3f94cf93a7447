-- inspect.lua: who does what at this moment, for those who show it to people.
-- The looking is done in C; this is the way to it.

local inspect = {
  hints_at_everything = false, -- hint.lua: also at what is not ours
}

local native

function inspect.bind(functions) native = functions end

--- The tasks that have not ended: {task, state, waits, model, site, age}, of
-- which age is there for those spawned since keep_ages.
function inspect.tasks() return native.tasks() end

--- From now on tasks know when they were spawned.
function inspect.keep_ages() native.date_tasks(true) end

--- Who holds the pool's clients in this thread: {model, client, site}.
function inspect.holders(pool) return native.holders(pool) end

--- What was probably meant by the last error, if it is this one, or nil.
function inspect.hint(err) return native.hint(err) end

--- Words failures of tasks: (what, error, traceback, hint, site) -> text.
function inspect.report_by(report) native.word_by(nil, report) end

return inspect
