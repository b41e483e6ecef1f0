"""Rate limits refill evenly, and names beyond number take no memory."""

from bifseg.server.access.ratelimit import NAMES, RateLimit


def test_a_bucket_refills_evenly_up_to_its_size():
    now = 0.0
    limit = RateLimit(rate=2, burst=3, clock=lambda: now)
    assert [limit.wait("ann") for _ in range(5)] == [0, 0, 0, 0.5, 0.5]
    assert limit.wait("bob") == 0
    now = 0.25
    assert limit.wait("ann") == 0.25
    now = 0.5
    assert [limit.wait("ann"), limit.wait("ann")] == [0, 0.5]
    now = 1000.0
    assert limit.left("ann") == 3
    assert [limit.wait("ann") for _ in range(4)] == [0, 0, 0, 0.5]


def test_a_slow_limit_lets_one_through():
    limit = RateLimit(rate=0.1, burst=0.4, clock=lambda: 0.0)
    assert [limit.wait("ann"), limit.wait("ann")] == [0, 10]


def test_names_beyond_number_take_no_memory():
    limit = RateLimit(rate=1, burst=1, clock=lambda: 0.0)
    assert limit.wait("first") == 0
    for k in range(NAMES):
        limit.wait(f"{k}")
    assert len(limit._left) == NAMES
    assert limit.wait(f"{NAMES - 1}") == 1
    assert limit.wait("first") == 0  # long forgotten
