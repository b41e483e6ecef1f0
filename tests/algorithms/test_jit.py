import numba
import numpy as np

from bifseg.algorithms import jit


def twice(x):
    return x + x


def test_what_cannot_be_kept_on_disk_is_compiled_all_the_same(monkeypatch):
    def njit(function, cache=False, nogil=False):
        if cache:
            raise RuntimeError("cannot cache function 'twice': no locator available for file")
        return numba.njit(function, nogil=nogil)

    monkeypatch.setattr(jit, "njit", njit)
    made = jit.compiled(twice)
    np.testing.assert_array_equal(made(np.arange(3)), [0, 2, 4])
    assert made.signatures
