"""The queue before the workers: users take turns, a session has one job at a time, nobody waits for ever."""

from __future__ import annotations

from dataclasses import dataclass

from bifseg.server.workers.queue import FairQueue


@dataclass(eq=False)
class Waiting:
    user: str
    session: str


def drain(queue: FairQueue) -> list[str]:
    """Sessions in the order in which one worker gets them."""
    order = []
    while job := queue.take():
        order.append(job.session)
        queue.done(job)
    return order


def test_users_take_turns_and_keep_their_own_order():
    queue = FairQueue()
    for user, count in (("ann", 4), ("ben", 2), ("cas", 1)):
        for k in range(count):
            queue.put(Waiting(user, f"{user}{k}"))
    assert drain(queue) == ["ann0", "ben0", "cas0", "ann1", "ben1", "ann2", "ann3"]
    assert queue.jobs() == []


def test_a_session_has_one_job_at_a_time_and_holds_up_no_other():
    queue = FairQueue()
    first, second, other = Waiting("ann", "s"), Waiting("ann", "s"), Waiting("ann", "t")
    for job in (first, second, other):
        queue.put(job)
    assert queue.take() is first
    assert queue.take() is other
    assert queue.take() is None
    queue.done(first)
    assert queue.take() is second


def test_who_had_less_of_the_workers_time_goes_first():
    now = [0.0]
    queue = FairQueue(clock=lambda: now[0])
    for k in range(3):
        queue.put(Waiting("greedy", f"greedy {k}"))
    long = queue.take()
    now[0] = 30.0
    for k in range(2):
        queue.put(Waiting("ann", f"ann {k}"))
        queue.put(Waiting("ben", f"ben {k}"))
    queue.done(long)  # it took 30 s; who comes meanwhile has no debts, and no credit
    order = []
    while job := queue.take():
        order.append(job.session)
        now[0] += 30.0 if job.user == "greedy" else 0.1
        queue.done(job)
    assert order == ["greedy 1", "ann 0", "ben 0", "ann 1", "ben 1", "greedy 2"]


def test_one_user_may_have_a_part_of_the_workers_only():
    queue = FairQueue(own=lambda user: 1)
    jobs = [Waiting("greedy", "a"), Waiting("greedy", "b"), Waiting("ann", "c")]
    for job in jobs:
        queue.put(job)
    assert (queue.take(), queue.take(), queue.take()) == (jobs[0], jobs[2], None)
    queue.done(jobs[0])
    assert queue.take() is jobs[1]


def test_a_job_is_taken_out_of_the_line_once():
    queue = FairQueue()
    job, twin = Waiting("ann", "s"), Waiting("ann", "s")
    queue.put(job)
    queue.put(twin)
    assert queue.remove(job)
    assert not queue.remove(job)
    assert queue.jobs() == [twin]
    assert queue.take() is twin
    assert not queue.remove(twin)


def test_what_fits_may_overtake_but_nobody_waits_for_ever():
    queue = FairQueue()
    for k in range(8):
        queue.put(Waiting("quick", f"home {k}"))
    queue.put(Waiting("other", "away"))
    queue.put(Waiting("third", "home"))
    taken = []
    while job := queue.take(lambda job: job.session.startswith("home")):
        taken.append(job.user)
        queue.done(job)
    assert sorted(taken) == ["other"] + ["quick"] * 8 + ["third"]
    assert taken[:2] == ["quick", "third"]
    assert taken.index("other") <= 4
