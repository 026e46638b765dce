#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""handler.py SOCKET: turns the text at (GPA, length) to upper case, answers how much changed."""
import socket
import struct
import sys
import threading

HEADER = struct.Struct("<4sIQII")  # magic, type, id, bytes that follow, zero
HELLO, WELCOME, REQUEST, ANSWER = 1, 2, 3, 4
# One range: GPA in argument 0, length in argument 1, in and out, zero, at most 4096 bytes.
RANGES = struct.pack("<BBBBI", 0, 1, 3, 0, 4096)


def frames(vmm):
    while header := vmm.recv(HEADER.size, socket.MSG_WAITALL):
        magic, kind, call, length, zero = HEADER.unpack(header)
        assert (magic, zero) == (b"hcHP", 0), "this is no VMM"
        yield kind, call, vmm.recv(length, socket.MSG_WAITALL)


def send(vmm, kind, call, body):
    vmm.sendall(HEADER.pack(b"hcHP", kind, call, len(body), 0) + body)


def handle(vmm):
    for kind, call, body in frames(vmm):
        if kind == HELLO:  # whichever version it is: this is ours
            send(vmm, WELCOME, 0, struct.pack("<II", 1, 1) + RANGES)
        elif kind == REQUEST:  # number, vCPU, CPL, zero, 4 arguments, 4 lengths; the text
            text = body[64:]
            loud = text.upper()
            changed = sum(old != new for old, new in zip(text, loud))
            send(vmm, ANSWER, call, struct.pack("<q4I", changed, len(loud), 0, 0, 0) + loud)


server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
print("listening", flush=True)
while True:
    threading.Thread(target=handle, args=[server.accept()[0]], daemon=True).start()
