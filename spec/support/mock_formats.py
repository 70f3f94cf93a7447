"""mock_formats.py - the mock provider's answers, in the providers' own words.

One idea: an answer is a list of steps (an event's name and data, with a mark
where a piece of content begins), made per provider from the same script; one
function puts them on the wire with the script's faults in between. It parses
no HTTP and opens no sockets.
"""
import asyncio
import base64
import json
import re
import struct


async def answer(request, script, writer):
    if script.get("reset"):
        await writer.reset()
    if script.get("wait"):
        await asyncio.sleep(script["wait"])
    if "raw" in script:
        await writer.bytes(script["raw"].encode("latin-1"))
        writer.until_close = True
        return
    provider, operation, model = route(request)
    if not provider:
        return await writer.whole(404, {}, to_json(
            {"error": {"message": "no such path: " + request["path"]}}))
    refusal = refused(request, provider)
    if refusal and not script:
        return await writer.whole(401, {}, to_json(refusal))
    body = json.loads(request["body"]) if request["body"] else {}
    if plain_fault(script):
        return await fail(provider, script, writer)
    reply = Reply(script, body, model)
    make = provider(reply)
    if operation == "stream" or (operation == "chat" and body.get("stream")):
        return await stream(make, script, writer, operation, request)
    result = {"chat": make.whole, "stream": make.whole, "embed": make.embed,
              "embed_batch": make.embed_batch, "models": make.models}
    content = result[operation]()
    if script.get("wait_first"):
        await asyncio.sleep(script["wait_first"])
    await writer.whole(script.get("status", 200),
                       headers_of(script, provider), to_json(content))


def plain_fault(script):
    in_stream = "error_at" in script
    return not in_stream and ("body" in script or "error" in script
                              or script.get("status", 200) >= 300)


async def fail(provider, script, writer):
    status = script.get("status", 200)
    body = script.get("body")
    if body is None:
        error = dict({"message": "as the script wants it"},
                     **provider.error_of(status))
        error.update(script.get("error", {}))
        body = provider.error_body(error)
    data = body.encode() if isinstance(body, str) else to_json(body)
    await writer.whole(status, headers_of(script, provider), data,
                       script.get("cut"))


def headers_of(script, provider):
    headers = {provider.request_header: "req_mock"}
    if script.get("content_type"):
        headers["content-type"] = script["content_type"]
    headers.update(script.get("headers", {}))
    return headers


def to_json(value):
    return json.dumps(value, ensure_ascii=False).encode()


def route(request):
    path, method = request["path"], request["method"]
    gemini = re.search(r"/models/([^/:]+):(\w+)$", path)
    if gemini and method == "POST":
        names = {"generateContent": "chat", "streamGenerateContent": "stream",
                 "embedContent": "embed", "batchEmbedContents": "embed_batch"}
        if gemini[2] in names:
            return Gemini, names[gemini[2]], gemini[1]
    elif path.endswith("/chat/completions") and method == "POST":
        return OpenAI, "chat", None
    elif path.endswith("/embeddings") and method == "POST":
        return OpenAI, "embed", None
    elif path.endswith("/messages") and method == "POST":
        return Anthropic, "chat", None
    elif path.endswith("/models") and method == "GET":
        return OpenAI, "models", None
    return None, None, None


def refused(request, provider):
    """Keys that begin with "bad", and no key at all."""
    key = request["key"]
    if key and not key.startswith("bad"):
        return None
    message = "Incorrect API key provided: %s. You can find your key." % key
    if provider is Gemini:
        return {"error": {"code": 400, "message": "API key not valid.",
                          "status": "INVALID_ARGUMENT", "details": [
                              {"@type": "type.googleapis.com/"
                               "google.rpc.ErrorInfo",
                               "reason": "API_KEY_INVALID"}]}}
    if provider is Anthropic:
        return {"type": "error", "error": {"type": "authentication_error",
                                           "message": message}}
    return {"error": {"message": message, "type": "invalid_request_error",
                      "param": None, "code": "invalid_api_key"}}


class Reply:
    """What the script and the request make of an answer, in no format."""

    def __init__(self, script, body, model):
        self.script, self.body = script, body
        self.model = body.get("model") or model or "mock"
        self.calls = script.get("tool_calls", [])
        self.pieces = script.get("pieces")
        if self.pieces is None:
            text = script.get("text")
            if text is None and not self.calls:
                text = "You said: " + last_words(body)
            self.pieces = re.findall(r"\s*\S+|\s+$", text or "")
        if script.get("pad"):
            self.pieces = self.pieces + ["x" * script["pad"]]
        self.text = "".join(self.pieces)
        self.reasoning = script.get("reasoning")
        self.finish = script.get("finish") or (
            "tool_calls" if self.calls else "stop")
        given = script.get("usage") or [len(last_words(body).split()),
                                        len(self.pieces)]
        self.prompt_tokens, self.completion_tokens = given[0], given[1]
        self.cached = given[2] if len(given) > 2 else 0
        self.thought = given[3] if len(given) > 3 else 0


def last_words(body):
    messages = body.get("messages") or body.get("contents") or [{}]
    content = messages[-1].get("content") or messages[-1].get("parts") or ""
    if isinstance(content, str):
        return content
    return " ".join(str(part.get("text", "")) for part in content
                    if isinstance(part, dict))


def vector(text):
    return [round(((len(text) + 1) * i) % 7 / 8, 3) for i in range(1, 5)]


class OpenAI:
    request_header = "x-request-id"

    @staticmethod
    def error_of(status):
        """What it says of a refusal besides its message."""
        kind = "server_error" if status >= 500 else "invalid_request_error"
        known = {401: {"code": "invalid_api_key"},
                 404: {"code": "model_not_found"},
                 429: {"type": "requests", "code": "rate_limit_exceeded"}}
        return dict({"type": kind, "param": None, "code": None},
                    **known.get(status, {}))

    @staticmethod
    def error_body(error):
        return {"error": error}

    def __init__(self, reply):
        self.reply = reply

    def usage(self):
        r = self.reply
        return {"prompt_tokens": r.prompt_tokens,
                "completion_tokens": r.completion_tokens,
                "total_tokens": r.prompt_tokens + r.completion_tokens,
                "prompt_tokens_details": {"cached_tokens": r.cached},
                "completion_tokens_details": {"reasoning_tokens": r.thought}}

    def whole(self):
        r = self.reply
        message = {"role": "assistant", "content": r.text or None,
                   "refusal": None}
        if r.reasoning:
            message["reasoning_content"] = r.reasoning
        if r.calls:
            message["tool_calls"] = [
                {"id": c["id"], "type": "function", "function": {
                    "name": c["name"], "arguments": c["arguments"]}}
                for c in r.calls]
        return {"id": "chatcmpl-mock", "object": "chat.completion",
                "created": 1, "model": r.model, "usage": self.usage(),
                "choices": [{"index": 0, "message": message, "logprobs": None,
                             "finish_reason": r.finish}]}

    def chunk(self, delta, finish=None):
        every = self.reply.script.get("usage_where") == "every"
        chunk = {"id": "chatcmpl-mock", "object": "chat.completion.chunk",
                 "created": 1, "model": self.reply.model,
                 "choices": [{"index": 0, "delta": delta, "logprobs": None,
                              "finish_reason": finish}]}
        if self.wants_usage():
            chunk["usage"] = self.usage() if every else None
        return None, chunk

    def wants_usage(self):
        options = self.reply.body.get("stream_options") or {}
        return options.get("include_usage", False)

    def steps(self):
        r = self.reply
        if r.script.get("empty_choices"):
            yield False, (None, {"choices": [], "prompt_filter_results": []})
        yield False, self.chunk({"role": "assistant", "content": ""})
        if r.reasoning:
            yield True, self.chunk({"reasoning_content": r.reasoning})
        for piece in r.pieces:
            yield True, self.chunk({"content": piece})
        for i, call in enumerate(r.calls):
            yield True, self.chunk({"tool_calls": [
                {"index": i, "id": call["id"], "type": "function",
                 "function": {"name": call["name"], "arguments": ""}}]})
            for part in fragments(call):
                yield True, self.chunk({"tool_calls": [
                    {"index": i, "function": {"arguments": part}}]})
        yield False, self.chunk({}, r.finish)
        if (self.wants_usage()
                and r.script.get("usage_where", "end").startswith("end")):
            last = self.chunk({})[1]
            last.update(choices=[], usage=self.usage())
            yield False, (None, last)

    def terminator(self):
        return [(None, "[DONE]")]

    def error_event(self, error):
        return None, {"error": error}

    def embed(self):
        inputs = self.reply.body.get("input")
        inputs = inputs if isinstance(inputs, list) else [inputs]
        in_base64 = self.reply.body.get("encoding_format") == "base64"
        data = []
        for i, text in enumerate(inputs):
            v = vector(str(text))
            if in_base64:
                v = base64.b64encode(struct.pack("<4f", *v)).decode()
            data.append({"object": "embedding", "index": i, "embedding": v})
        return {"object": "list", "data": data[::-1], "model": self.reply.model,
                "usage": {"prompt_tokens": len(inputs),
                          "total_tokens": len(inputs)}}

    def models(self):
        return {"object": "list", "data": [{
            "id": "mock", "object": "model", "created": 1,
            "owned_by": "mock"}]}

    embed_batch = embed


def fragments(call):
    return call.get("pieces") or re.findall(r".{1,5}", call["arguments"])


class Anthropic(OpenAI):
    request_header = "request-id"
    errors = {400: "invalid_request_error", 401: "authentication_error",
              402: "billing_error", 403: "permission_error",
              404: "not_found_error", 409: "conflict_error",
              413: "request_too_large", 429: "rate_limit_error",
              500: "api_error", 504: "timeout_error", 529: "overloaded_error"}

    @classmethod
    def error_of(cls, status):
        return {"type": cls.errors.get(
            status, "api_error" if status >= 500 else "invalid_request_error")}

    @staticmethod
    def error_body(error):
        return {"type": "error", "error": error, "request_id": "req_mock"}

    finishes = {"stop": "end_turn", "length": "max_tokens",
                "tool_calls": "tool_use", "content_filter": "refusal"}

    def usage(self):
        r = self.reply
        return {"input_tokens": r.prompt_tokens - r.cached,
                "output_tokens": r.completion_tokens,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": r.cached}

    def stop_reason(self):
        return self.finishes.get(self.reply.finish, self.reply.finish)

    def blocks(self):
        r = self.reply
        if r.reasoning:
            yield {"type": "thinking", "thinking": r.reasoning,
                   "signature": r.script.get("signature", "c2ln")}, None
        if r.text or not r.calls:
            yield {"type": "text", "text": r.text}, None
        for call in r.calls:
            yield {"type": "tool_use", "id": call["id"], "name": call["name"],
                   "input": json.loads(call["arguments"] or "{}")}, call

    def whole(self):
        return {"id": "msg_mock", "type": "message", "role": "assistant",
                "model": self.reply.model, "usage": self.usage(),
                "content": [block for block, _ in self.blocks()],
                "stop_reason": self.stop_reason(), "stop_sequence": None}

    @staticmethod
    def event(kind, **fields):
        return kind, dict({"type": kind}, **fields)

    def steps(self):
        usage, where = self.usage(), self.reply.script.get("usage_where", "end")
        first = dict(usage, output_tokens=1)
        if where == "end_only":
            first = {"input_tokens": 0, "output_tokens": 0}
        message = dict(self.whole(), content=[], stop_reason=None, usage=first)
        yield False, self.event("message_start", message=message)
        yield False, self.event("ping")
        for index, (block, call) in enumerate(self.blocks()):
            yield from self.block_steps(index, block, call)
        yield False, self.event(
            "message_delta", usage=usage if where == "end_only" else {
                "output_tokens": usage["output_tokens"]},
            delta={"stop_reason": self.stop_reason(), "stop_sequence": None})

    def block_steps(self, index, block, call):
        def delta(**fields):
            return self.event("content_block_delta", index=index, delta=fields)
        kind = block["type"]
        empty = dict(block, **{"text": {"text": ""}, "tool_use": {"input": {}},
                               "thinking": {"thinking": "", "signature": ""}
                               }[kind])
        yield False, self.event("content_block_start", index=index,
                                content_block=empty)
        if kind == "text":
            for piece in self.reply.pieces:
                yield True, delta(type="text_delta", text=piece)
        elif kind == "thinking":
            yield True, delta(type="thinking_delta", thinking=block[kind])
            yield False, delta(type="signature_delta",
                               signature=block["signature"])
        else:
            for part in [""] + fragments(call):
                yield True, delta(type="input_json_delta", partial_json=part)
        yield False, self.event("content_block_stop", index=index)

    def terminator(self):
        return [self.event("message_stop")]

    def error_event(self, error):
        return "error", {"type": "error", "error": error}


class Gemini(OpenAI):
    errors = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED",
              403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED",
              429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
              504: "DEADLINE_EXCEEDED"}

    @classmethod
    def error_of(cls, status):
        return {"code": status, "status": cls.errors.get(status, "UNKNOWN")}

    finishes = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP",
                "content_filter": "SAFETY"}

    def usage(self):
        r = self.reply
        usage = {"promptTokenCount": r.prompt_tokens,
                 "candidatesTokenCount": r.completion_tokens - r.thought,
                 "totalTokenCount": r.prompt_tokens + r.completion_tokens}
        if r.thought:
            usage["thoughtsTokenCount"] = r.thought
        if r.cached:
            usage["cachedContentTokenCount"] = r.cached
        return usage

    def part_groups(self):
        r = self.reply
        if r.reasoning:
            yield [{"text": r.reasoning, "thought": True}]
        for piece in r.pieces:
            yield [{"text": piece}]
        for call in r.calls:
            part = {"functionCall": {"name": call["name"], "args": json.loads(
                call["arguments"] or "{}")}}
            if r.script.get("signature"):
                part["thoughtSignature"] = r.script["signature"]
            yield [part]

    def result(self, parts, finish=None, usage=True):
        candidate = {"index": 0}
        if parts:
            candidate["content"] = {"role": "model", "parts": parts}
        if finish:
            candidate["finishReason"] = self.finishes.get(finish, finish)
        result = {"candidates": [candidate], "responseId": "gem_mock",
                  "modelVersion": self.reply.model}
        if usage:
            result["usageMetadata"] = self.usage()
        return result

    def whole(self):
        parts = [{"text": self.reply.text}] if self.reply.text else []
        if self.reply.reasoning:
            parts.insert(0, {"text": self.reply.reasoning, "thought": True})
        parts += [g[0] for g in self.part_groups() if "functionCall" in g[0]]
        return self.result(parts, self.reply.finish)

    def steps(self):
        every = self.reply.script.get("usage_where") == "every"
        for parts in self.part_groups():
            yield True, (None, self.result(parts, None, every))
        yield False, (None, self.result([], self.reply.finish, True))

    def terminator(self):
        return []

    def embed(self):
        content = self.reply.body["content"]
        return {"embedding": {"values": vector(content["parts"][0]["text"])}}

    def embed_batch(self):
        return {"embeddings": [
            {"values": vector(r["content"]["parts"][0]["text"])}
            for r in self.reply.body["requests"]]}


class EventStream:
    """Server-sent events as a script wants them written."""
    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, script):
        self.script, self.count = script, 0
        self.newline = script.get("newline", "\n")

    def begin(self):
        return b"\xef\xbb\xbf" if self.script.get("bom") else b""

    def event(self, name, data):
        text = data if isinstance(data, str) else to_json(data).decode()
        lines = []
        if self.script.get("comments"):
            lines += [": PROCESSING", ":"]
        if name:
            lines.append("event: " + name)
        lines += ["data: " + part for part in self.parts(text)]
        return (self.newline.join(lines) + self.newline * 2).encode()

    def parts(self, text):
        if not self.script.get("split_data") or text.startswith("["):
            return [text]
        return text.replace(', "', ',\n"').split("\n")

    def end(self):
        return b""


class Array:
    """What Gemini sends without alt=sse."""
    content_type = "application/json; charset=utf-8"

    def __init__(self, _):
        self.count = 0

    def begin(self):
        return b"["

    def event(self, _, data):
        self.count += 1
        return (b"" if self.count == 1 else b",\r\n") + (
            data.encode() if isinstance(data, str) else to_json(data))

    def end(self):
        return b"]"


async def stream(make, script, writer, operation, request):
    as_array = script.get("json_array") or (
        operation == "stream" and request["query"].get("alt") != "sse")
    form = (Array if as_array else EventStream)(script)
    headers = dict({"content-type": form.content_type},
                   **headers_of(script, type(make)))
    await writer.start(script.get("status", 200), headers)
    if form.begin():
        await writer.part(form.begin())
    if not await events(make, script, writer, form):
        return await writer.end()
    if script.get("wait_end"):
        await asyncio.sleep(script["wait_end"])
    if script.get("done", True):
        for name, data in make.terminator():
            await writer.part(form.event(name, data))
    if form.end():
        await writer.part(form.end())
    await writer.end()


async def events(make, script, writer, form):
    """All but the terminator; False: an error has ended the stream."""
    count = 0
    for begins_piece, (name, data) in make.steps():
        if begins_piece:
            await pause(script, count)
            if script.get("error_at") == count:
                await writer.part(form.event(
                    *make.error_event(script["error"])))
                return False
            if script.get("bad_event_at") == count:
                await writer.part(form.event(None, "{\"broken\": "))
            count += 1
        if not script.get("done", True) and ends(data):
            continue
        await writer.part(form.event(name, data))
    if script.get("error_at", -1) >= count:
        await writer.part(form.event(*make.error_event(script["error"])))
        return False
    return True


def ends(data):
    """Gemini's terminator is the finishReason."""
    return any("finishReason" in c for c in data.get("candidates", []))


async def pause(script, count):
    key = "wait_piece" if count else "wait_first"
    if script.get(key):
        await asyncio.sleep(script[key])
