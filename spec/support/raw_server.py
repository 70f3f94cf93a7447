#!/usr/bin/env python3
"""raw_server.py - sends bytes exactly as a request says, and knows no HTTP.

One idea: a request carries its answer: a header x-plan, a JSON list whose texts
are bytes (latin-1) to send at once, whose numbers are seconds to wait, and
whose other items are [text, n], n times the text, or one of

    "<body"   read the request's body (else it is left unread)
    "<rest"   read whatever comes until the other side ends
    "!rst"    reset the connection      "!fin"   end our side of it
    "!hang"   wait until the other side ends
    "!file PATH"  make the file: what stands before has been sent

A thread a connection; what is left open at the end of a plan takes the next
request. GET /heads answers with the heads of the requests since the last time.

    python3 spec/support/raw_server.py PID     # prints its port; ends with PID

It shares no code with the mock and the client, and judges nothing.
"""
import json
import os
import socket
import struct
import sys
import threading
import time

HEADS = []


def is_told(head, name):
    for line in head.split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.strip().lower() == name:
            return value.strip()
    return b""


class Peer:
    def __init__(self, sock):
        self.sock, self.buffer = sock, b""

    def more(self):
        data = self.sock.recv(65536)
        self.buffer += data
        return bool(data)

    def head(self):
        while b"\r\n\r\n" not in self.buffer:
            if not self.more():
                return None
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return head

    def body(self, head):
        length = int(is_told(head, b"content-length") or 0)
        while len(self.buffer) < length and self.more():
            pass
        self.buffer = self.buffer[length:]

    def rest(self):
        while self.more():
            self.buffer = b""

    def reset(self):
        time.sleep(0.005)  # what was sent before is to arrive
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                             struct.pack("ii", 1, 0))
        self.sock.close()

    def step(self, step, head):
        """False: the connection is over."""
        if isinstance(step, (int, float)):
            time.sleep(step)
        elif isinstance(step, list):
            self.sock.sendall(step[0].encode("latin-1") * step[1])
        elif step == "<body":
            self.body(head)
        elif step in ("<rest", "!hang"):
            self.rest()
        elif step.startswith("!file "):
            open(step[6:], "w").close()
        elif step == "!rst":
            self.reset()
            return False
        elif step == "!fin":
            self.sock.shutdown(socket.SHUT_WR)
            self.rest()
            return False
        else:
            self.sock.sendall(step.encode("latin-1"))
        return True


def simple(peer, text):
    data = text.encode()
    peer.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
                      % (len(data), data))


def serve_one(peer, head):
    path = head.split(b" ")[1]
    if path == b"/heads":
        simple(peer, json.dumps(HEADS))
        HEADS.clear()
        return True
    HEADS.append(head.decode("latin-1"))
    plan = json.loads(is_told(head, b"x-plan") or b"[]")
    return all(peer.step(step, head) for step in plan)


def serve(sock):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer = Peer(sock)
    try:
        head = peer.head()
        while head and serve_one(peer, head):
            head = peer.head()
    except OSError:
        pass
    sock.close()


def watch(process):
    while os.path.exists("/proc/%d" % process):
        time.sleep(0.5)
    os._exit(0)


def main():
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(128)
    print(server.getsockname()[1], flush=True)
    threading.Thread(target=watch, args=(int(sys.argv[1]),),
                     daemon=True).start()
    while True:
        sock, _ = server.accept()
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
