#!/usr/bin/env python3
"""mock_provider.py - an upstream that speaks the providers' formats and fails.

One idea: each request is answered by a script, a JSON object that says what
to answer and what to do to the bytes on their way: a status, headers, an error
in the middle of a stream, a reset at byte N, silence, a drip. A request takes
its script from its own header `x-mock`, else from the queue of its key, else
from the queue that `POST /_control` filled, else from the default. What it
received, and when its sockets were closed, stands at `GET /_log`, in seconds of
the machine's monotonic clock (llmpool.now() is the same).

    python3 spec/support/mock_provider.py --port 0     # prints its address

It shares no code with the client, listens on 127.0.0.1 only, and serves the
formats of mock_formats.py. The script's fields are listed in FIELDS below.
"""
import argparse
import asyncio
import json
import os
import signal
import socket
import struct
import sys
import time
from urllib.parse import parse_qsl, urlsplit

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mock_formats  # noqa: E402

FIELDS = {
    # the answer
    "status": "HTTP status (200)", "headers": "extra headers, name -> value",
    "error": "the provider's error object, as the body or in the stream",
    "body": "a body instead of ours: a string as it is, else as JSON",
    "raw": "all bytes of the response, status line and all (latin-1)",
    "text": "the answer's text", "pieces": "the text in these pieces",
    "reasoning": "thinking before the text",
    "tool_calls": "[{id, name, arguments (JSON text), pieces}]",
    "finish": "finish_reason in OpenAI's words", "usage": "[in, out] tokens",
    "signature": "the signature of what was thought",
    # what is wrong with it
    "usage_where": "end (default), end_only, every or none",
    "empty_choices": "a chunk without choices first", "done": "false: no end",
    "error_at": "after so many pieces the error comes, in the stream",
    "bad_event_at": "after so many pieces an event that is no JSON",
    "newline": "\\n, \\r\\n or \\r between lines of events",
    "comments": "comment lines between the events",
    "split_data": "each event's JSON on several data: lines",
    "bom": "a byte order mark first", "pad": "bytes of padding in the text",
    "json_array": "Gemini: a JSON array instead of events",
    "content_type": "another content type",
    # what happens to its bytes
    "framing": "chunked, length or close (until the end)",
    "cut": "send a body in two parts, the first so long",
    "split": "write so many bytes at a time", "drip": "seconds between writes",
    "wait": "seconds before the headers", "wait_first": "before the first "
    "piece", "wait_piece": "between pieces", "wait_end": "before the end",
    "reset_at": "reset after so many bytes of the response",
    "close_at": "close after so many bytes", "stall_at": "fall silent after "
    "so many bytes", "reset": "reset before any answer",
    "keep_alive": "false: close after the answer",
}


class Script(dict):
    """A request's script; unknown fields are a mistake of the spec's."""

    def __init__(self, fields):
        unknown = set(fields) - set(FIELDS)
        if unknown:
            raise ValueError("unknown field of a script: %s" % unknown)
        super().__init__(fields)


class State:
    """What the control endpoint set, and the log."""

    def __init__(self):
        self.clear()

    def clear(self):
        self.queue, self.by_key, self.default, self.log = [], {}, {}, []
        self.silent, self.open, self.opened = [], 0, 0
        self.in_flight = self.most_in_flight = 0
        self.keep_log = True

    def script_for(self, request):
        own = request["headers"].get("x-mock")
        if own:
            return Script(json.loads(own))
        queue = self.by_key.get(request["key"]) or self.queue
        return Script(queue.pop(0) if queue else self.default)

    def control(self, order):
        if order.get("clear"):
            self.clear()
        self.queue += [Script(s) for s in order.get("next", [])]
        for key, scripts in order.get("keys", {}).items():
            self.by_key.setdefault(key, []).extend(map(Script, scripts))
        if "default" in order:
            self.default = Script(order["default"])
        self.keep_log = order.get("keep_log", self.keep_log)
        answer = {"ok": True}
        if order.get("silent"):
            answer["silent"] = self.open_silent()
        if "retry_date" in order:  # a header that only the clock can make
            moment = time.time() + order["retry_date"]
            answer["date"] = time.strftime("%a, %d %b %Y %H:%M:%S GMT",
                                           time.gmtime(moment))
        return answer

    def open_silent(self):
        """A port that takes no connection: its backlog is full."""
        server = socket.socket()
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        self.silent.append(server)
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
            self.silent.append(filler)
        return server.getsockname()[1]


class Connection(asyncio.Protocol):
    """One client's socket: requests are parsed as they come, one at a time
    answered by a task that dies with the connection."""

    def __init__(self, state):
        self.state, self.buffer, self.answer = state, b"", None
        self.drained = asyncio.Event()
        self.drained.set()

    def connection_made(self, transport):
        self.transport, self.entries = transport, []
        self.state.open += 1
        self.state.opened += 1
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = transport.get_extra_info("peername")[1]

    def pause_writing(self):
        self.drained.clear()

    def resume_writing(self):
        self.drained.set()

    def eof_received(self):
        self.note_closed("client")
        return False

    def connection_lost(self, exc):
        self.state.open -= 1
        self.note_closed("client")
        self.drained.set()
        if self.answer:
            self.answer.cancel()

    def note_closed(self, who):
        for entry in self.entries:
            if "closed_at" not in entry:
                entry["closed_at"], entry["closed_by"] = time.monotonic(), who

    def data_received(self, data):
        self.buffer += data
        self.next_request()

    def next_request(self):
        if self.answer:
            return
        request = self.parse()
        if request:
            self.answer = asyncio.ensure_future(self.serve(request))

    def parse(self):
        head, separator, rest = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return None
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            if headers.get("expect") and not rest:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        self.buffer = rest[length:]
        url = urlsplit(target)
        return {"method": method, "path": url.path, "headers": headers,
                "query": dict(parse_qsl(url.query)),
                "body": rest[:length].decode("utf-8", "replace"),
                "key": key_of(headers)}

    async def serve(self, request):
        state = self.state
        state.in_flight += 1
        state.most_in_flight = max(state.most_in_flight, state.in_flight)
        try:
            if request["path"].startswith("/_"):
                keep = await self.administer(request)
            else:
                keep = await self.respond(request)
        finally:
            state.in_flight -= 1
        self.answer = None
        if not keep:
            self.note_closed("server")
            self.transport.close()
        else:
            self.entries = []
            self.next_request()

    async def administer(self, request):
        state = self.state
        if request["path"] == "/_control":
            try:
                answer = state.control(json.loads(request["body"] or "{}"))
            except ValueError as problem:
                answer = {"ok": False, "problem": str(problem)}
        else:
            answer = {"log": state.log, "open": state.open,
                      "opened": state.opened, "in_flight": state.in_flight - 1,
                      "most_in_flight": state.most_in_flight}
        await self.send(response_bytes(200, {}, json.dumps(answer).encode()))
        return True

    async def respond(self, request):
        state, entry = self.state, dict(request)
        entry.update(at=time.monotonic(), port=self.port, sent=0)
        if state.keep_log:
            state.log.append(entry)
        self.entries.append(entry)
        try:
            script = state.script_for(request)
            writer = Writer(self, script, entry)
            await mock_formats.answer(request, script, writer)
            entry["ended_at"] = time.monotonic()
            return script.get("keep_alive", True) and not writer.until_close
        except Gone:
            return False
        except ValueError as problem:
            await self.send(response_bytes(
                500, {}, json.dumps({"mock": str(problem)}).encode()))
            return False

    async def send(self, data):
        await self.drained.wait()
        if self.transport.is_closing():
            raise Gone()
        self.transport.write(data)

    async def reset(self):
        await asyncio.sleep(0.02)  # what was sent before is to arrive
        self.note_closed("server")
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                        struct.pack("ii", 1, 0))
        self.transport.abort()
        raise Gone()


class Gone(Exception):
    """The connection is no more."""


def key_of(headers):
    bearer = headers.get("authorization", "")
    return (headers.get("x-api-key") or headers.get("x-goog-api-key")
            or headers.get("api-key")
            or (bearer[7:] if bearer.startswith("Bearer ") else ""))


def response_bytes(status, headers, body):
    return head_bytes(status, dict(headers, **{
        "content-type": headers.get("content-type", "application/json"),
        "content-length": str(len(body))})) + body


def head_bytes(status, headers):
    lines = ["HTTP/1.1 %d Mock" % status]
    lines += ["%s: %s" % pair for pair in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Writer:
    """Puts a response's bytes on the wire, as badly as the script wants."""

    def __init__(self, connection, script, entry):
        self.connection, self.script, self.entry = connection, script, entry
        self.chunked = self.until_close = False

    async def bytes(self, data):
        step = self.script.get("split") or len(data) or 1
        for start in range(0, len(data), step):
            await self.cut(data[start:start + step])
            if self.script.get("drip") is not None:
                await asyncio.sleep(self.script["drip"])

    async def cut(self, data):
        """Writes up to the byte at which the script wants trouble."""
        for fault in ("reset_at", "close_at", "stall_at"):
            at = self.script.get(fault)
            if at is not None and self.entry["sent"] + len(data) >= at:
                await self.write(data[:at - self.entry["sent"]])
                await self.fail(fault)
        await self.write(data)

    async def write(self, data):
        if data:
            await self.connection.send(data)
            self.entry["sent"] += len(data)

    async def fail(self, fault):
        if fault == "reset_at":
            await self.connection.reset()
        if fault == "stall_at":
            await asyncio.sleep(3600)
        raise Gone()

    async def start(self, status, headers):
        """Sends the head of a body whose length is not known."""
        framing = self.script.get("framing", "chunked")
        self.chunked = framing == "chunked"
        self.until_close = framing == "close"
        if self.chunked:
            headers = dict(headers, **{"transfer-encoding": "chunked"})
        await self.bytes(head_bytes(status, headers))

    async def part(self, data):
        if not self.chunked:
            return await self.bytes(data)
        step = self.script.get("split") or len(data) or 1
        for at in range(0, len(data), step):
            piece = data[at:at + step]
            await self.bytes(b"%x\r\n%s\r\n" % (len(piece), piece))

    async def end(self):
        if self.chunked:
            await self.bytes(b"0\r\n\r\n")

    async def whole(self, status, headers, body, cut=None):
        framing = self.script.get("framing", "length")
        if cut is not None:
            data = response_bytes(status, headers, body)
            cut += len(data) - len(body)
            await self.bytes(data[:cut])
            await asyncio.sleep(0.001)  # or both would arrive together
            return await self.bytes(data[cut:])
        if framing == "length":
            return await self.bytes(response_bytes(status, headers, body))
        await self.start(status, headers)
        await self.part(body)
        await self.end()

    async def reset(self):
        await self.connection.reset()


def is_there(process):
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


async def main(port):
    state = State()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(state), "127.0.0.1",
                                      port, backlog=4096)
    address = server.sockets[0].getsockname()
    print("http://127.0.0.1:%d" % address[1], flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), 1)
        except asyncio.TimeoutError:
            if ARGUMENTS.parent and not is_there(ARGUMENTS.parent):
                return


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="an upstream that fails")
    parser.add_argument("--port", type=int, default=0, help="0: any")
    parser.add_argument("--parent", type=int, metavar="PID",
                        help="end when that process has ended")
    ARGUMENTS = parser.parse_args()
    asyncio.run(main(ARGUMENTS.port))
