"""A reader of uploads to which its file does what none should: ``python hostile_reader.py HOW PATH``; see test_reading.

With the end of a socket after it, it is the template of such readers; see test_template.
"""

import ctypes
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.io import images
from bifseg.server.uploads import forking, reader_process


def spin():
    while True:
        pass


def write():
    with Path(sys.argv[2], "filler").open("wb") as file:
        while True:
            file.write(bytes(1 << 20))


def where():
    Path(sys.argv[2]).write_text(tempfile.gettempdir(), encoding="utf-8")
    raise InvalidInput("It is no image.")


def wait():
    Path(sys.argv[2]).write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(1000)


HOW = {
    "crashes": lambda: ctypes.string_at(1),
    "sleeps": lambda: time.sleep(1000),
    "spins": spin,
    "eats memory": lambda: np.ones(1 << 40, np.uint8),
    "fills the disk": write,
    "has a fault": lambda: {}["a patient's name"],
    "says where": where,
    "says who, and sleeps": wait,
    "kills the template": lambda: os.kill(os.getppid(), signal.SIGKILL),
    "begins a thread": lambda: None,
    "refuses": lambda: (_ for _ in ()).throw(InvalidInput("It is no image.")),
}

if __name__ == "__main__":
    images.read_upload_with_headers = lambda *_, **__: HOW[sys.argv[1]]()
    if sys.argv[1] == "begins a thread":
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    if len(sys.argv) > 3:
        forking.main(socket.socket(fileno=int(sys.argv[3])))
    else:
        reader_process.main(json.load(sys.stdin))
