"""Turns: users share what there is, and nobody waits behind all that another wants."""

import asyncio
import threading
import time

import pytest

from bifseg.errors import Overloaded
from bifseg.server.access.turns import Turns


def test_users_take_turns_whatever_one_of_them_has_waiting():
    done, gate = [], threading.Event()

    async def test():
        turns = Turns(at_once=1, own=1, waiting=10)

        async def work(user, k):
            await turns.run(user, gate.wait, 10)
            done.append(f"{user}{k}")

        tasks = [asyncio.create_task(work("ann", k)) for k in range(6)]
        await asyncio.sleep(0.05)
        tasks += [asyncio.create_task(work(user, 0)) for user in ("bob", "eve")]
        await asyncio.sleep(0.05)
        gate.set()
        await asyncio.gather(*tasks)

    asyncio.run(test())
    assert done == ["ann0", "ann1", "bob0", "eve0", "ann2", "ann3", "ann4", "ann5"]


def test_one_user_never_has_all_places():
    async def test():
        turns, gate = Turns(at_once=2, own=1, waiting=10), threading.Event()
        greedy = [asyncio.create_task(turns.run("ann", gate.wait, 10)) for _ in range(5)]
        await asyncio.sleep(0.05)
        assert await asyncio.wait_for(turns.run("bob", lambda: 7), 2) == 7
        gate.set()
        await asyncio.gather(*greedy)

    asyncio.run(test())


def test_who_wants_too_much_is_refused_and_others_are_not():
    async def test():
        turns, gate = Turns(at_once=1, own=1, waiting=3), threading.Event()
        tasks = [asyncio.create_task(turns.run("ann", gate.wait, 10)) for _ in range(4)]
        await asyncio.sleep(0.05)
        with pytest.raises(Overloaded, match="3 of your requests"):
            await turns.run("ann", print)
        other = asyncio.create_task(turns.run("bob", lambda: 1))
        gate.set()
        assert await other == 1
        await asyncio.gather(*tasks)
        assert await turns.run("ann", lambda: 2) == 2

    asyncio.run(test())


def test_who_goes_away_or_fails_gives_the_turn_back():
    async def test():
        turns, gate = Turns(at_once=1, own=1, waiting=9), threading.Event()
        first = asyncio.create_task(turns.run("ann", gate.wait, 10))
        await asyncio.sleep(0.02)
        waiting = [asyncio.create_task(turns.run(user, lambda: 1)) for user in ("ann", "bob", "bob", "eve")]
        await asyncio.sleep(0.02)
        for task in waiting[:3]:
            task.cancel()
        gate.set()
        await first
        assert await waiting[3] == 1
        with pytest.raises(ZeroDivisionError):
            await turns.run("ann", lambda: 1 / 0)
        assert await turns.run("bob", lambda: 2) == 2
        late = asyncio.create_task(turns.run("ann", time.sleep, 0.05))
        await asyncio.sleep(0.01)
        just = asyncio.create_task(turns.run("bob", lambda: 1))
        await asyncio.sleep(0.01)
        await late
        just.cancel()  # perhaps just when it is bob's turn
        await asyncio.gather(just, return_exceptions=True)
        assert await asyncio.wait_for(turns.run("eve", lambda: 3), 2) == 3
        assert (turns._free, turns._running, dict(turns._waiting)) == (1, {}, {})

    asyncio.run(test())


def test_pieces_come_one_by_one_and_let_others_in():
    async def test():
        turns, got = Turns(at_once=1, own=1, waiting=9), []
        async for piece in turns.pieces("ann", iter([b"a", b"b", b"c"])):
            got.append(piece)
            assert await asyncio.wait_for(turns.run("bob", lambda: 1), 2) == 1
        assert got == [b"a", b"b", b"c"]

    asyncio.run(test())


def test_who_is_cancelled_has_its_turn_until_the_end():
    async def test():
        turns, gate = Turns(at_once=1, own=1, waiting=9), threading.Event()
        task = asyncio.create_task(turns.run("ann", gate.wait, 10))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.sleep(0.05)
        assert turns._running == {"ann": 1}
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert turns._running == {}
        with pytest.raises(ZeroDivisionError):
            await turns.run("ann", lambda: 1 / 0)

    asyncio.run(test())
