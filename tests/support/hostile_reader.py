"""A reader of uploads to which its file does what none should: ``python hostile_reader.py HOW``; see test_reading."""

import ctypes
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.io import images
from bifseg.server.uploads import reader


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


HOW = {
    "crashes": lambda: ctypes.string_at(1),
    "sleeps": lambda: time.sleep(1000),
    "spins": spin,
    "eats memory": lambda: np.ones(1 << 40, np.uint8),
    "fills the disk": write,
    "has a fault": lambda: {}["a patient's name"],
    "says where": where,
    "refuses": lambda: (_ for _ in ()).throw(InvalidInput("It is no image.")),
}

if __name__ == "__main__":
    images.read_upload = lambda *_, **__: HOW[sys.argv[1]]()
    reader.main(json.load(sys.stdin))
