"""The program that learns beside a server, but it gives way to nobody, and learns in seconds.

At the lowest priority, beside tests that keep all cores busy, it would not end.
"""

import sys

import pytest
from quick_learning import quicken

from bifseg.server.workers import learning

if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(learning, "_give_way", lambda: None)
        quicken(patched)
        learning.main(sys.argv[1:])
