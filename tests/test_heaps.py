"""Heaps of malloc: few, and given back."""

import os
import platform
import subprocess
import sys

import pytest

from bifseg import heaps

ALLOCATING = """
import ctypes, threading
from bifseg.heaps import share_heaps
{first}
malloc, together = ctypes.CDLL(None).malloc, threading.Barrier(6)
def allocate():
    together.wait()
    malloc(1000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
ctypes.CDLL(None).malloc_stats()
"""
GLIBC = platform.libc_ver()[0] == "glibc"


def heaps_of(first, **environment):
    """How many heaps six threads have that live at the same time."""
    kept = {name: value for name, value in os.environ.items() if name not in heaps.CHOICES}
    command = [sys.executable, "-c", ALLOCATING.format(first=first)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=kept | environment)
    return told.stderr.count("Arena ")


@pytest.mark.skipif(not GLIBC, reason="another C library")
def test_threads_share_a_few_heaps():
    assert heaps_of("") > heaps.FEW
    assert heaps_of("share_heaps()") == heaps.FEW


@pytest.mark.skipif(not GLIBC, reason="another C library")
@pytest.mark.parametrize("chosen", [{"MALLOC_ARENA_MAX": "4"}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=4"}])
def test_the_environment_says_how_many(chosen):
    assert heaps_of("share_heaps()", **chosen) == 4
    assert not heaps.is_chosen({"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"})


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_another_c_library_is_left_alone(monkeypatch, system):
    """Those of macOS and Alpine have neither function; Windows gives no library without a name."""
    asked = []

    class Library:
        def __getattr__(self, name):
            asked.append(name)
            raise AttributeError(name)

    def load(name):
        if system == "win32":
            raise TypeError
        return Library()

    for name in heaps.CHOICES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(heaps.sys, "platform", system)
    monkeypatch.setattr(heaps.ctypes, "CDLL", load)
    heaps.share_heaps()
    heaps.give_back()
    assert asked == (["mallopt", "malloc_trim"] if system == "linux" else [])
