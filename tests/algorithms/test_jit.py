"""Loops run as the machine code that travels with the package, bit for bit what Numba would compile."""

import json
import os
import subprocess
import sys
from zipfile import ZipFile

import numba
import numpy as np
import pytest

from bifseg.algorithms import jit, machine_code
from bifseg.algorithms.geodesic import geodesic_distance
from bifseg.algorithms.graphcut import GridCut, grid_edges
from bifseg.imaging.resampling import resample
from bifseg.method.band_cut import NUMBERS, band_cut
from bifseg.method.islands import tidy
from codegen.loops import modules

with_our_llvm = pytest.mark.skipif(
    not machine_code.is_usable(),
    reason="Numba compiles here: no Linux with an x86-64 CPU, or an LLVM older than the bitcode (Python 3.10)",
)
EVERY = [loop for loops in modules().values() for loop in loops]


def twice(x):
    return x + x


def doubled(x):
    for i in range(x.size):
        x[i] = x[i] * 2


@pytest.fixture
def by_numba(monkeypatch):
    """Loops are compiled by Numba, from the next call on."""

    def choose():
        monkeypatch.setattr(machine_code, "load", lambda *_: None)
        for loop in EVERY:
            monkeypatch.setattr(loop, "runs", {})

    return choose


@pytest.fixture
def anew(monkeypatch):
    """LLVM is looked for again, in this test and after it."""
    for found in (machine_code._about, machine_code._in_step, machine_code._target):
        found.cache_clear()
    yield
    for found in (machine_code._about, machine_code._in_step, machine_code._target):
        found.cache_clear()


@pytest.mark.parametrize("machine", [("win32", "AMD64"), ("darwin", "arm64"), ("linux", "aarch64")])
def test_where_bitcode_was_never_loaded_it_is_not(monkeypatch, anew, machine):
    monkeypatch.setattr(machine_code.sys, "platform", machine[0])
    monkeypatch.setattr(machine_code.platform, "machine", lambda: machine[1])
    assert not machine_code.is_usable()


def test_what_cannot_be_kept_on_disk_is_compiled_all_the_same(monkeypatch):
    def njit(function, cache=False, nogil=False):
        if cache:
            raise RuntimeError("cannot cache function 'twice': no locator available for file")
        return compiled(function, nogil=nogil)

    compiled = numba.njit
    monkeypatch.setattr(numba, "njit", njit)
    made = jit.compiled()(twice)
    np.testing.assert_array_equal(made(np.arange(3)), [0, 2, 4])
    assert made.dispatcher.signatures


def test_what_travels_with_the_package_is_of_the_sources_as_they_are():
    """Else `python -m codegen.loops` was forgotten."""
    with ZipFile(machine_code.LOOPS) as file:
        about, names = json.loads(file.read(machine_code.ABOUT)), set(file.namelist())
    assert about["sources"] == {name: machine_code.source(name) for name in modules()}
    wanted = {f"{machine_code.symbol(loop, k)}.bc" for loop in EVERY for k in range(len(loop.signatures))}
    assert names == wanted | {machine_code.ABOUT}


def answers(numbers=NUMBERS):
    """What every loop that is called from Python is needed for, on types of numbers and in two or three axes."""
    rng = np.random.default_rng(3)
    for shape in ((15, 14), (9, 8, 7)):
        ndim, image = len(shape), rng.random(shape, np.float32)
        seeds = rng.random(shape) < 0.05
        yield geodesic_distance(image, seeds, spatial=0.01)
        yield geodesic_distance(rng.random((*shape, 3), np.float32), seeds)
        yield resample(image, [2 * n + 1 for n in shape])
        yield resample(image.T, [n // 2 for n in shape])
        edges = grid_edges(shape, 8 if ndim == 2 else 26)
        cut = GridCut(shape, edges, [rng.random(np.zeros(shape)[e.first].shape) for e in edges])
        for _ in range(2):
            yield cut(rng.random(shape) * 3, rng.random(shape) * 3)
        labels = np.zeros(shape, bool)
        labels[(slice(2, -2),) * ndim] = True
        fixed = np.zeros([2 * n for n in shape], np.uint8)
        fixed[(2,) * ndim], fixed[(-2,) * ndim] = 1, 2
        for number in numbers:
            for scan in (rng.random([2 * n for n in shape]), rng.random([*(2 * n for n in shape), 3])):
                voxels = (scan * 120).astype(number)
                for array in (voxels, np.asfortranarray(voxels)):
                    odds = np.where(labels, 1.0, -1.0)
                    yield band_cut(array, (20.0, 110.0), (1.0,) * ndim, odds, labels, fixed, lam=1.0, sigma=0.1)
        spotted = rng.random(fixed.shape) < 0.4
        spotted[(slice(4, 9),) * ndim] = True
        yield tidy(spotted, fixed, fill_holes=0.5, drop_islands=0.5)


def test_the_bits_are_those_of_numba(by_numba):
    numbers = ["int16"]  # of the others Numba would compile as much again
    ours = list(answers(numbers))
    by_numba()
    for one, other in zip(ours, answers(numbers), strict=True):
        np.testing.assert_array_equal(one, other)


@with_our_llvm
def test_nothing_is_left_to_numba(monkeypatch):
    for loop in EVERY:
        monkeypatch.setattr(loop, "runs", {})
        monkeypatch.setitem(loop.__dict__, "dispatcher", None)  # which cannot be called
    assert len(list(answers())) > 0
    assert [loop.__name__ for loop in EVERY if loop.signatures and not loop.runs] == []


@pytest.mark.server
@with_our_llvm
def test_a_box_and_strokes_do_without_numba(tmp_path):
    """A fresh process: importing Numba and loading what it has kept would take it half a second, compiling twenty."""
    program = """
import sys
import numpy as np
from bifseg import Image, Session, Stroke
scan = Image(np.random.default_rng(0).integers(0, 99, (32, 32, 16)).astype(np.int16))
for box in (((8, 24), (8, 24), 8), ((8, 24), (8, 24), (4, 12))):
    session = Session(scan)
    session.box(box)
    session.scribble([Stroke([(12, 12, 8)], 1, radius=1), Stroke([(20, 20, 8)], 2, radius=1)])
print(sorted(name for name in ("numba", "scipy") if name in sys.modules))
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert len(kept) >= 12
    assert all(name.startswith("bifseg.") and name.endswith(".o") for name in kept)


@with_our_llvm
def test_a_changed_source_an_old_llvm_and_a_missing_file_leave_it_to_numba(anew, monkeypatch, tmp_path):
    loop = next(loop for loop in EVERY if loop.__name__ == "_touch")
    signature = jit.Signature.parsed(loop.signatures[0])
    assert machine_code.load(loop.function, 0, signature) is not None
    with monkeypatch.context() as changed:
        machine_code._in_step.cache_clear()
        changed.setattr(machine_code, "source", lambda module: "another")
        assert machine_code.load(loop.function, 0, signature) is None
    for about in ({"llvm": [9999, 0, 0]}, {}):
        for found in (machine_code._about, machine_code._in_step, machine_code._target):
            found.cache_clear()
        with monkeypatch.context() as changed:
            if about:
                whole = {**machine_code._about(), **about}
                changed.setattr(machine_code, "_about", lambda whole=whole: whole)
            else:
                changed.setattr(machine_code, "LOOPS", tmp_path / "none.zip")
            assert machine_code.load(loop.function, 0, signature) is None


@with_our_llvm
def test_machine_code_is_kept_and_made_again_where_it_is_damaged(anew, monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kept"))
    made = []
    monkeypatch.setattr(
        machine_code, "_made", lambda bitcode, target, make=machine_code._made: made.append(1) or make(bitcode, target)
    )
    loop = next(loop for loop in EVERY if loop.__name__ == "_touch")
    signature = jit.Signature.parsed(loop.signatures[0])
    arguments = np.array([[0, 0, 1, 3]], np.int32), np.full((1, 1, 4), 2, np.uint8), 2
    for count, damage in ((1, None), (1, None), (2, b"torn"), (2, None)):
        for path in (tmp_path / "kept").glob("*.o") if damage else ():
            path.write_bytes(path.read_bytes()[:-8] + damage)
        machine_code._target.cache_clear()
        touched = np.zeros(1, bool)
        machine_code.load(loop.function, 0, signature)(*arguments, touched)
        assert touched.all()
        assert len(made) == count
    assert [path.suffix for path in (tmp_path / "kept").iterdir()] == [".o"]


def test_what_fits_no_signature_is_compiled_by_numba():
    loop = jit.compiled("void(int32[::1])")(doubled)
    signature = jit.Signature.parsed(loop.signatures[0])
    read = np.arange(4, dtype=np.int32)
    fitting, odd = [read], [read[::2], read.astype(">i4"), read.astype(np.int64), read.reshape(2, 2), 3]
    assert all(signature.fits((array,)) for array in fitting)
    assert not any(signature.fits((array,)) for array in odd)
    gaps = np.arange(4, dtype=np.int32)[::2]
    loop(gaps)
    assert gaps.tolist() == [0, 4]
