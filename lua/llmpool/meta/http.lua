---@meta llmpool.http
-- meta/http.lua - the annotations of llmpool.http: the HTTP client for
-- providers of one's own. Never executed.

--- HTTP requests that wait as tasks do; for providers of one's own.
---@class llmpool.http
local http = {}

--- An answer. Of a stream it is there as soon as the headers are; to_be_closed
--- variables close it.
---@class llmpool.http.response
---@field status integer 200, 404, ...
---@field headers table<string, string> by lower-case name; repeated ones joined
---@field body? string all of it; nil for a stream
---@field timings llmpool.http.timings
---@field version string of HTTP: "1.1", "2"
local response = {}

--- Seconds since the request was made.
---@class llmpool.http.timings
---@field queued number until a socket was opened or a kept connection was free
---@field connected number until the connection stood and the request went out
---@field first number until the first byte of the answer
---@field total? number until all was there; not yet for an open stream

--- Seconds that each wait may last. Raises kind timeout_connect and so on.
---@class llmpool.http.timeouts
---@field connect? number for name, TCP and TLS; default 10
---@field first? number from the request to the answer's headers; default 600
---@field idle? number between two pieces of the body; default 300
---@field total? number for all of it; default: no limit

--- What a request is made of. Unknown names raise, with the nearest known one.
---@class llmpool.http.options
---@field url string http:// or https://
---@field method? string default GET, POST with a body
---@field headers? table<string, string|number>|llmpool.http.headers
---@field body? string
---@field timeout? number|llmpool.http.timeouts a number is the total
---@field max_bytes? integer of the body; default 64 MiB, a stream has no limit
---@field stream? boolean answer when the headers are there
---@field follow? boolean redirects, at most ten; secrets stay behind
---@field on_cancel? "close"|"drain" what a cancelled task does to it
---@field http2? boolean over TLS, where the server knows it; default true
---@field proxy? string instead of http_proxy and so on; "" for none
---@field ca_file? string instead of CURL_CA_BUNDLE, SSL_CERT_FILE, the system's

--- Sends a request and waits for the answer, whatever its status.
--- Raises an error object: kind resolve, reset, tls, proxy, timeout_connect,
--- timeout_first, timeout_idle, timeout_total, malformed, truncated, too_large,
--- memory or cancelled, with `url` (no user, no query), `phase` ("connect",
--- "answer", "body") and, if it came that far, `status`. Wrong options raise
--- before anything is sent. Inside llmpool.simulate it raises.
---@async
---@param options llmpool.http.options|string a string is the url
---@return llmpool.http.response response
---@nodiscard
function http.request(options) end

--- Headers that are checked once, for many requests: what a client always
--- sends, its key for one. They cannot be changed, and show neither names nor
--- values.
---@class llmpool.http.headers

--- Makes them of a table. Raises "bad argument" as http.request would.
---@param headers table<string, string|number>
---@return llmpool.http.headers
---@nodiscard
function http.headers(headers) end

--- The next piece of a stream, at least a byte; nil at the end. With "a" all
--- that is left, as one string. Raises as http.request does, and kind closed
--- after a close.
---@async
---@param what? "a"
---@return string? piece
---@nodiscard
function response:read(what) end

--- An iterator over the events of an event stream: tables with `data` and,
--- where given, `event`, `id` (the last one) and `retry` (milliseconds).
--- It raises as read does, and kind too_large for an event beyond max_bytes.
--- An event that the stream's end cut off before its empty line is none; what
--- it had said comes as a second value, beside the nil; or else the JSON that
--- stood between the events.
---@async
---@param max_bytes? integer of one event; default 1 MiB
---@return fun(): table?, string? next_event
---@nodiscard
function response:events(max_bytes) end

--- Closes the connection at once, unless all has been read; then it is kept
--- for the next request. A task that is reading it gets kind closed. A
--- response that nobody has any more is closed too.
function response:close() end

return http
