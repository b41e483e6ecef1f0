import numba
import numpy as np

from bifseg import compiled


def twice(x):
    return x + x


def test_what_cannot_be_kept_on_disk_is_compiled_all_the_same(monkeypatch):
    def njit(function, cache=False, nogil=False):
        if cache:
            raise RuntimeError("cannot cache function 'twice': no locator available for file")
        return numba.njit(function, nogil=nogil)

    monkeypatch.setattr(compiled, "njit", njit)
    made = compiled.compiled(twice)
    np.testing.assert_array_equal(made(np.arange(3)), [0, 2, 4])
    assert made.signatures
