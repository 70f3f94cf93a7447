# http_server.py - an HTTP/1.1 server that answers as a test tells it, faults
# included. Python's standard library only, so that it shares no code with the
# client under test.
#
#   python3 http_server.py [--cert FILE --key FILE]
#
# It prints its port and serves until GET /quit or until whoever started it is
# gone. What it does is said by the path:
#   /echo          the request as JSON: method, path, headers, body, and which
#                  connection it came on and as its how-manieth request
#   /raw?OPTIONS   sends the request's body as it is: the whole answer's bytes
#       cut=N         only the first N bytes of it
#       delay=S       S seconds before the first
#       drip=N pause=S  in pieces of N bytes, S seconds between
#       then=keep|close|reset|hang   afterwards (reset: a TCP RST)
#   /flood         bytes without end, as fast as they are taken
#   /redirect?status=N&to=URL  a redirect there; /loop: one to itself
#   /connections   JSON: of every connection when it was opened, closed (by the
#                  monotonic clock; null: open), its requests and bytes sent
#   CONNECT, and paths that are whole URLs: a proxy's answer, as /echo

import argparse
import asyncio
import json
import os
import socket
import ssl
import struct
import sys
import time
from urllib.parse import parse_qs, urlsplit

CONNECTIONS = []


class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.buffer = b""
        self.room = asyncio.Event()
        self.room.set()
        self.task = None
        self.record = {"id": len(CONNECTIONS) + 1, "opened": time.monotonic(),
                       "closed": None, "requests": 0, "sent": 0}
        CONNECTIONS.append(self.record)

    def connection_lost(self, error):
        self.record["closed"] = time.monotonic()
        if self.task:
            self.task.cancel()

    def pause_writing(self):
        self.room.clear()

    def resume_writing(self):
        self.room.set()

    def data_received(self, data):
        self.buffer += data
        self.next_request()

    def next_request(self):
        head, separator, rest = self.buffer.partition(b"\r\n\r\n")
        if self.task or not separator:
            return
        lines = head.decode("latin-1").split("\r\n")
        method, target, version = lines[0].split(" ")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        self.record["requests"] += 1
        request = {"method": method, "target": target, "version": version,
                   "headers": headers, "body": rest[:length]}
        self.task = asyncio.ensure_future(self.serve(request))
        self.task.add_done_callback(self.served)

    def served(self, task):
        self.task = None
        if not task.cancelled() and task.exception():
            print(repr(task.exception()), file=sys.stderr)
            self.transport.abort()
        elif not self.transport.is_closing():
            self.next_request()

    async def send(self, data):
        if self.transport.is_closing():
            raise asyncio.CancelledError
        self.transport.write(data)
        self.record["sent"] += len(data)
        await self.room.wait()

    async def answer(self, value, status="200 OK", bare=False):
        body = json.dumps(value).encode()
        await self.send(b"HTTP/1.1 %s\r\nContent-Type: application/json\r\n"
                        b"Content-Length: %d\r\n\r\n%s"
                        % (status.encode(), len(body), b"" if bare else body))

    def reset(self):
        raw = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                       struct.pack("ii", 1, 0))
        self.transport.abort()

    async def raw(self, request, options):
        def option(name, default):
            return type(default)(options.get(name, [default])[0])
        data = request["body"][:option("cut", len(request["body"]))]
        await asyncio.sleep(option("delay", 0.0))
        size = option("drip", len(data)) or 1
        for at in range(0, len(data), size):
            if at > 0:
                await asyncio.sleep(option("pause", 0.0))
            await self.send(data[at:at + size])
        then = option("then", "keep")
        if then == "close":
            self.transport.close()
        elif then == "reset":
            await asyncio.sleep(0.01)  # let what was sent arrive
            self.reset()
        elif then == "hang":
            await asyncio.sleep(3600)

    async def flood(self):
        await self.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await self.send(b"x" * 4096)

    async def redirect(self, options):
        await self.send(("HTTP/1.1 %s Elsewhere\r\nLocation: %s\r\n"
                         "Content-Length: 5\r\n\r\nmoved"
                         % (options["status"][0], options["to"][0])).encode())

    async def serve(self, request):
        url = urlsplit(request["target"])
        if url.path == "/raw":
            await self.raw(request, parse_qs(url.query))
        elif url.path == "/loop":
            await self.redirect({"status": ["302"], "to": ["/loop"]})
        elif url.path == "/redirect":
            await self.redirect(parse_qs(url.query))
        elif url.path == "/flood":
            await self.flood()
        elif url.path == "/connections":
            await self.answer(CONNECTIONS)
        elif url.path == "/quit":
            await self.answer("bye")
            asyncio.get_running_loop().call_later(0.01, os._exit, 0)
        else:
            request["body"] = request["body"].decode("latin-1")
            request["connection"] = self.record["id"]
            request["number"] = self.record["requests"]
            await self.answer(request, bare=request["method"] == "HEAD")


async def watch_parent():
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(0.2)
    os._exit(0)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cert")
    parser.add_argument("--key")
    options = parser.parse_args()
    tls = None
    if options.cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.cert, options.key)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, ssl=tls,
                                      backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await watch_parent()


asyncio.run(main())
