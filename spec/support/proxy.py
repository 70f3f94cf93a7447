# proxy.py - an HTTP proxy for tests: tunnels (CONNECT) and ordinary requests.
# Python's standard library only, so that it shares no code with the client
# under test.
#
# It prints two ports: of a proxy that serves everybody, and of one that wants
# the user "user" with the password "pa:ss word" (407 else). It serves until
# whoever started it is gone.
#   CONNECT HOST:PORT      a tunnel there; but of the hosts
#       forbidden.invalid    is refused with 403
#       half.invalid         gets half an answer, then the end
#       drop.invalid         gets the end
#       silent.invalid       gets nothing
#   GET http://HOST/PATH   is answered with "proxied", and PATH
#   GET /log               JSON: the targets of all CONNECTs so far; /quit: ends

import asyncio
import base64
import json
import os

LOG = []
WANTED = "Basic " + base64.b64encode(b"user:pa:ss word").decode()


async def pipe(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


def answer(writer, status, body="", more=""):
    writer.write(("HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s"
                  % (status, more, len(body), body)).encode())


async def tunnel(target, reader, writer):
    LOG.append(target)
    host, _, port = target.rpartition(":")
    if host == "forbidden.invalid":
        answer(writer, "403 Forbidden")
    elif host == "half.invalid":
        writer.write(b"HTTP/1.1 20")
        writer.close()
    elif host == "drop.invalid":
        writer.close()
    elif host == "silent.invalid":
        await asyncio.sleep(3600)
    else:
        there = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pipe(reader, there[1]), pipe(there[0], writer))


async def serve(reader, writer, guarded):
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = head.decode("latin-1").split("\r\n")
            method, target, _ = lines[0].split(" ")
            headers = {name.lower(): value.strip() for name, _, value in
                       (line.partition(":") for line in lines[1:] if line)}
            if guarded and headers.get("proxy-authorization") != WANTED:
                answer(writer, "407 Proxy Authentication Required", "",
                       "Proxy-Authenticate: Basic realm=\"x\"\r\n")
            elif method == "CONNECT":
                return await tunnel(target, reader, writer)
            elif target == "/quit":
                os._exit(0)
            elif target == "/log":
                answer(writer, "200 OK", json.dumps(LOG))
            else:
                answer(writer, "200 OK", "proxied " + target)
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        writer.close()


async def main():
    ports = []
    for guarded in False, True:
        server = await asyncio.start_server(
            lambda r, w, g=guarded: serve(r, w, g), "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
    print(*ports, flush=True)
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(0.2)
    os._exit(0)


asyncio.run(main())
