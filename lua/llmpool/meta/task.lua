---@meta _

-- Annotations of tasks, scopes, threads, time and errors: the one source of
-- help(), completion and the reference. Never executed.

---@class llmpool
local llmpool = {}

--- A coroutine that the program schedules.
---@class llmpool.task
local task = {}

--- A block that nothing started in it outlives.
---@class llmpool.scope
local scope = {}

-- ---- tasks -----------------------------------------------------------------

--- Starts a function as a task of the innermost scope. It begins to run at the
--- next wait. An error that nobody joins is reported; in a script it makes the
--- exit status 1.
---@param fn function
---@param ... any its arguments
---@return llmpool.task
function llmpool.spawn(fn, ...) end

--- Waits for the task's end and gives what it returned; raises its error, or
--- that of its cancellation.
---@async
---@return any ...
function task:join() end

--- As join, but protected, as pcall is.
---@async
---@return boolean ok
---@return any ... what it returned, or its error
function task:pjoin() end

--- Asks the task to end: its present or next wait raises kind "cancelled".
---@param reason? any kept in that error's field `reason`
---@return boolean alive whether it had not ended before
function task:cancel(reason) end

--- "ready", "running", "waiting", "done", "failed" or "cancelled".
---@return string
function task:status() end

-- ---- structured concurrency ------------------------------------------------

--- Runs a block that ends only when all tasks spawned in it have ended. The
--- first that fails cancels the others, and its error is raised.
---@async
---@param fn fun(scope: llmpool.scope): ...
---@return any ... what the block returns
function llmpool.scope(fn) end

--- Starts a function as a task of this scope. Raises if the scope is over.
---@param fn function
---@param ... any its arguments
---@return llmpool.task
function scope:spawn(fn, ...) end

--- Cancels every task of the scope, and the block's own waits.
function scope:cancel() end

--- Moves a task of this scope to the outermost one: it may outlive the block.
---@param task llmpool.task
function scope:detach(task) end

--- Runs the functions side by side. The first failure cancels the others and
--- is raised.
---@async
---@param ... function
---@return any ... the first value of each, in the order of the arguments
function llmpool.gather(...) end

--- Runs the functions side by side until the first returns; the others are
--- cancelled. A failure that comes before is raised.
---@async
---@param ... function
---@return any ... what the first returned
function llmpool.race(...) end

--- Runs a function for that long at most; raises kind "timeout" if it takes
--- longer.
---@async
---@param seconds number
---@param fn function
---@param ... any its arguments
---@return any ... what it returns
function llmpool.timeout(seconds, fn, ...) end

--- Runs a function during which a cancellation waits: for cleanup that must
--- wait itself.
---@async
---@param fn function
---@param ... any its arguments
---@return any ... what it returns
function llmpool.shield(fn, ...) end

--- Runs a function in an OS thread with a Lua state of its own. Plain values
--- and pools go across; other values raise.
---@param fn function|string without upvalues; or a module whose value is called
---@param ... any its arguments
---@return llmpool.task
function llmpool.thread(fn, ...) end

-- ---- time ------------------------------------------------------------------

--- Waits. 0: every other task that is ready runs first.
---@async
---@param seconds number
function llmpool.sleep(seconds) end

--- The time in seconds, on the clock that runs here: the monotonic one, or the
--- simulation's.
---@return number
function llmpool.now() end

--- Waits until every task has ended. For the end of a script under a plain
--- lua; the program does so itself.
---@async
---@return integer failures how many tasks have failed
function llmpool.wait() end

--- Runs a function on a clock of its own, on which no waiting takes time. Equal
--- seeds give equal runs. Raises the function's error, or kind "deadlock" if
--- nothing can run any more.
---@param options { seed?: integer }
---@param fn function
---@param ... any its arguments
---@return any ... what it returns
function llmpool.simulate(options, fn, ...) end

--- A random number from 0 up to 1; in a simulation by its seed.
---@return number
function llmpool.random() end

-- ---- errors ----------------------------------------------------------------

--- Makes an error object, to be raised by error().
---@param kind string
---@param message string
---@return llmpool.error
function llmpool.error(kind, message) end

--- Whether an error is that of a cancellation.
---@param err any
---@return boolean
function llmpool.is_cancelled(err) end

--- The traceback of the place that raised the error, if it is still known.
---@param err any
---@return string?
function llmpool.traceback(err) end
