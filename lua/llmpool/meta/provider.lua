---@meta _

-- Annotations of the clients of real providers, of what they are asked and of
-- what they answer. Never executed.

---@class llmpool
local llmpool = {}

--- What the clients of OpenAI, Anthropic and Gemini have in common.
---@class llmpool.provider_spec: llmpool.client_spec
---@field id string
---@field api_key? string the key
---@field api_key_env? string the environment's variable that has the key
---@field api_key_file? string the file that has the key
---@field base_url? string where the provider is; default: the environment's
--- OPENAI_BASE_URL, ANTHROPIC_BASE_URL or GEMINI_BASE_URL, else the provider's
---@field model? string the provider's name of the model; default: the pool's
---@field headers? table<string, string> more headers
---@field timeout? number|llmpool.timeouts seconds in all, or by phase
---@field proxy? string a proxy's URL; default: the environment's
---@field ca_file? string a file with the certificates to be trusted
---@field max_bytes? integer the largest answer that is taken
---@field on_cancel? "close"|"drain" what becomes of a request's connection when
--- its task is cancelled: closed at once, or read on for the usage
---@field max_tokens? integer of an answer, where the request does not say
---@field api_version? string Azure's api-version, Anthropic's version, Gemini's
--- part of the path
---@field requires_done? boolean false: a stream may end without its last word
---@field http2? boolean false: HTTP/1.1 only

--- The longest that each part of a request may take.
---@class llmpool.timeouts
---@field connect? number seconds until the connection stands; default 10
---@field first? number seconds until the first byte of an answer, the first
--- token of a stream; default 600
---@field idle? number seconds between two bytes; default 300
---@field total? number seconds in all; default 600, none for streams

--- A client of OpenAI's, or of a server that speaks its format.
---@class llmpool.openai_spec: llmpool.provider_spec
---@field organization? string
---@field project? string
---@field azure? boolean it is Azure: deployments in the path, its own header

--- A client of OpenAI's chat completions, or of a server that speaks them
--- (vLLM, llama.cpp, Ollama, OpenRouter, Azure). Its key is read now.
--- Raises for unknown fields, and where no key can be found.
---@param t llmpool.openai_spec
---@return llmpool.client_spec spec for register_model
---@nodiscard
function llmpool.openai(t) end

--- A client of Anthropic's messages. Its key is read now.
--- Raises for unknown fields, and where no key can be found.
---@param t llmpool.provider_spec
---@return llmpool.client_spec spec for register_model
---@nodiscard
function llmpool.anthropic(t) end

--- A client of Gemini's generateContent. Its key is read now.
--- Raises for unknown fields, and where no key can be found.
---@param t llmpool.provider_spec
---@return llmpool.client_spec spec for register_model
---@nodiscard
function llmpool.gemini(t) end

--- A text that is not shown: what prints it prints ***. It may stand in the
--- config of a client of your own, and goes to other threads.
--- Raises "bad argument" for what is no string.
---@param text string
---@return llmpool.secret secret
---@nodiscard
function llmpool.secret(text) end

--- A text that is not shown.
---@class llmpool.secret
local secret = {}

--- The text, for whoever makes the request.
---@return string text
---@nodiscard
function secret:reveal() end

---@class llmpool.pool
local pool = {}

--- Lends a client for one answer that comes piece by piece. The stream owns the
--- lease: the client is back when it has ended, is closed or is collected.
--- Raises what get_client raises, and what the provider raises at once.
---@async
---@nodiscard
---@param model string|string[] of several, the first that is free serves
---@param request string|llmpool.request
---@param options? llmpool.call_options
---@return llmpool.stream stream
function pool:stream(model, request, options) end

--- Lends a client for embeddings. Raises as get_client does, and what the
--- provider raises; a client that has none says so.
---@async
---@param model string|string[] of several, the first that is free serves
---@param input string|string[]|table texts, or {input=, dimensions=, ...}
---@param options? llmpool.call_options
---@return number[]|number[][] vectors one for a text, a list for a list
---@return table response {embeddings=, usage=, model=, client=, timings=, raw=}
function pool:embed(model, input, options) end

---@class llmpool.client
local client = {}

--- Asks for an answer that comes piece by piece. When the lease ends, the
--- stream is closed. Raises what the provider raises at once.
---@async
---@nodiscard
---@param request string|llmpool.request
---@param options? table of the provider's: timeout
---@return llmpool.stream stream
function client:stream(request, options) end

--- An answer that comes piece by piece: `for piece in stream do`.
---@class llmpool.stream
---@field response? llmpool.response the whole, once it has ended well
local stream = {}

--- The next piece; nil at the end. Calling the stream does the same. Raises
--- what the provider fails with; `committed` of it says whether a piece with
--- content had come before.
---@async
---@return llmpool.piece? piece
function stream:read() end

--- Ends it: the connection is closed, what has not come never comes. May be
--- called again; also at the end of a block: local stream <close> = ...
function stream:close() end

--- What one event of a stream brought.
---@class llmpool.piece
---@field text? string
---@field reasoning? string what was thought, where it is told
---@field refusal? string what of the text refuses to answer
---@field tool_calls? table[] fragments: {index=, id=, ["function"]={name=,
--- arguments=}}; id and name come first, the arguments' text in parts; the
--- index is the call's, from 0 in their order
---@field logprobs? table
---@field finish_reason? string
---@field usage? llmpool.usage
---@field index? integer of another choice than the first
---@field raw table the event as the provider sent it

--- A request in its one form, OpenAI's; fields that are not known here pass
--- untouched.
---@class llmpool.request
---@field messages table[] {role=, content=, tool_calls=, tool_call_id=, ...}
---@field model? string the provider's name of a model, for this request
---@field max_tokens? integer
---@field temperature? number
---@field top_p? number
---@field stop? string|string[]
---@field tools? table[]
---@field tool_choice? string|table
---@field parallel_tool_calls? boolean
---@field response_format? table
---@field reasoning_effort? string
---@field stream_options? table|boolean false: none are sent

--- What a request cost.
---@class llmpool.usage
---@field prompt_tokens integer all that was read, cached parts included
---@field completion_tokens integer all that was written, thoughts included
---@field total_tokens integer
---@field prompt_tokens_details? table {cached_tokens=, ...}
---@field completion_tokens_details? table {reasoning_tokens=, ...}

--- An answer in its one form.
---@class llmpool.response
---@field text string
---@field reasoning? string what was thought, where it is told
---@field tool_calls? table[] {id=, type="function", ["function"]={name=,
--- arguments=}}, the arguments being JSON text; {id=, type="custom",
--- custom={name=, input=}} of a custom tool
---@field refusal? string why it was not answered; it is the text, too
---@field logprobs? table {content={...}}, where they were asked for
---@field finish_reason? string stop, length, tool_calls, content_filter, ...
---@field usage? llmpool.usage
---@field model string as the provider calls it
---@field id? string the provider's own
---@field message table the answer as a message for the next request
---@field choices? table[] where several were asked for
---@field client string the client's id
---@field provider string
---@field timings table seconds: {queued=, connected=, first=, total=}
---@field raw? table the provider's own answer; none of a stream
