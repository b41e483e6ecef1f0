import ast
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bifseg.io import arrays


def test_headers_are_read_by_one_thread_at_a_time(tmp_path, monkeypatch):
    """Else one may fail with a SystemError; see `bifseg.io.arrays`."""
    array = np.arange(6.0).reshape(2, 3)
    np.save(tmp_path / "a.npy", array)
    file = io.BytesIO()
    np.save(file, array)
    inside, most, lock = 0, 0, threading.Lock()

    def slow(text, parse=ast.literal_eval):
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.01)
        with lock:
            inside -= 1
        return parse(text)

    monkeypatch.setattr(ast, "literal_eval", slow)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: arrays.mapped_array(tmp_path / "a.npy"), range(4)))
        found += threads.map(lambda _: arrays.array_of(file.getvalue()), range(4))
    assert most == 1
    assert all(np.array_equal(one, array) for one in found)


def test_what_is_no_array_is_a_value_error(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"no array at all")
    with pytest.raises(ValueError, match=r"pickle|magic"):
        arrays.mapped_array(tmp_path / "a.npy")
    with pytest.raises(ValueError, match="magic"):
        arrays.array_of(b"no array at all")
