"""Maximum flow on a grid whose neighbours are implicit: offsets into flat, padded arrays. Exact, in integers.

Two stages. Flow first spreads as heat would, over all edges along one offset at a time: long loops over contiguous
memory, which leave little to do where data are smooth or noisy. What is left is found along shortest augmenting paths
in a breadth-first tree that is repaired, not rebuilt (the source's half of Goldberg et al., "Maximum flows by
incremental breadth-first search", ESA 2011): no capacity enters its bound, O(voxels^3) on a grid.

Layout. A voxel is an index v into a grid with a border one voxel wide, so that no neighbour lies outside. Offsets come
in pairs: ``offsets[2j + 1] == -offsets[2j] < 0``. Row 2j of ``residual`` holds at v what v may still send to
v + offsets[2j], row 2j + 1 what may come back along that same edge.

Where only some voxels of a grid take part, v counts those, from 1, and ``offsets`` is a table instead: its row k holds
at v the neighbour itself, 0 where there is none; no edge of the voxel 0 has capacity.
"""

from __future__ import annotations

import numpy as np

from bifseg.algorithms.jit import compiled

ROOT, NONE = 255, 254  # in place of the slot of a parent: a source itself; an orphan or a voxel outside the tree
CHUNK = 2048  # voxels: three passes over so many stay in the first-level cache
SWEEPS, GAIN = 8, 0.02  # measured: spread in steps of 8 sweeps until one adds less than 2 % to the flow
MANY = 0.02  # of the voxels: so many at odds with a neighbour are worth sweeping over all, whatever flow is there

SEARCH = (  # of offsets or a table of neighbours
    "void(int32[:,::1], int32[::1], {}, int32[::1], uint8[::1], int32[::1], uint8[::1], int32[::1], int32[::1],"
    " int32[::1])"
)

i32 = np.int32  # Numba widens every sum to 64 bits; narrowed at once, loops run on twice as many lanes
i64 = np.int64  # of a literal: Numba would compile what it is given to a second time, for just this number


def maximum_flow(residual: np.ndarray, excess: np.ndarray, offsets: np.ndarray, warm: bool) -> np.ndarray:
    """Send all the flow there is from voxels of positive to voxels of negative excess; changes both arrays.

    ``residual``: int32 (offsets, voxels), ``excess``: int32 (voxels), ``offsets``: int64 (offsets) or, as a table,
    int32 (offsets, voxels); see the module for their layout, which is not checked. Of absolute values, residuals at one
    voxel must sum to 2^28 at most, and an excess added to them stay below 2^29: no sum here is larger, so nothing
    overflows. ``warm``: ``residual`` holds a flow that nearly fits, so spreading is left out unless many neighbours are
    at odds; with a table it is always tried.
    Returns int32 (voxels), above 0 where a voxel of positive excess still reaches.
    """
    voxels = excess.size
    if offsets.ndim == 2:
        _spread_listed(residual, excess, offsets)
    elif not warm or _at_odds(residual, excess, offsets[0]) > MANY * voxels:
        _spread(residual, excess, offsets, voxels - offsets.max(), np.zeros(CHUNK, np.int32))
    level = np.zeros(voxels, np.int32)  # 1: a source; n: n - 1 edges from the nearest; 0: not reached; -1: a sink
    parent = np.full(voxels, NONE, np.uint8)  # the slot in which the parent lies
    frontier = np.empty(voxels, np.int32)  # linked lists of voxels yet to look around from; 0, on the border, ends one
    listed = np.zeros(voxels, np.uint8)
    bucket = np.zeros(voxels + 2, np.int32)  # linked lists of orphans by level
    orphans, work = np.empty(voxels, np.int32), np.empty(voxels, np.int32)
    _search(residual, excess, offsets, level, parent, frontier, listed, bucket, orphans, work)
    return level


@compiled(*(SEARCH.format(offsets) for offsets in ("int64[::1]", "int32[:,::1]")))
def _search(residual, excess, offsets, level, parent, frontier, listed, bucket, orphans, work):
    """Augment along shortest paths until no sink is reached. Arrays come from outside: that halves the compiling."""
    voxels, slots = excess.size, offsets.shape[0]
    current, following = i64(0), i64(0)
    for v in range(voxels - 1, -1, -1):
        if excess[v] > 0:
            level[v], parent[v] = 1, ROOT
            frontier[v], listed[v], current = current, 1, v
        elif excess[v] < 0:
            level[v] = -1
    depth = 1
    while current:
        while current:
            v = current
            current, listed[v] = frontier[v], 0
            if level[v] > depth:  # it was lowered while it waited
                frontier[v], listed[v], following = following, 1, v
            if not 0 < level[v] <= depth:
                continue
            k = i64(0)
            while k < slots:
                w = _next(v, k, offsets)
                if level[w] > 0 or residual[k, v if k & 1 == 0 else w] == 0:
                    k += 1
                elif level[w] == 0:
                    level[w], parent[w] = level[v] + 1, k ^ 1
                    if not listed[w]:
                        frontier[w], listed[w], following = following, 1, w
                    k += 1
                else:
                    cut = _augment(v, w, k, residual, excess, offsets, level, parent, bucket, orphans)
                    settled = _adopt(cut, depth + 1, residual, offsets, level, parent, bucket, orphans, work)
                    for i in range(settled):
                        u = work[i]
                        if level[u] >= depth and not listed[u]:
                            listed[u] = 1
                            if level[u] == depth:
                                frontier[u], current = current, u
                            else:
                                frontier[u], following = following, u
                    if not 0 < level[v] <= depth:
                        break
        current, following = following, i64(0)
        depth += 1


@compiled()
def _next(v, k, offsets):
    """The neighbour of v in its slot k."""
    if offsets.ndim == 1:  # decided when this is compiled
        return v + offsets[k]
    return i64(offsets[k, v])


@compiled("int64(int32[:,::1], int32[::1], int64)")
def _at_odds(residual, excess, offset):
    """How many neighbours along one offset could send flow to each other at once."""
    count = 0
    for v in range(excess.size - offset):
        a, b = excess[v], excess[v + offset]
        if (a > 0 and b < 0 and residual[0, v]) or (a < 0 and b > 0 and residual[1, v]):
            count += 1
    return count


@compiled("void(int32[:,::1], int32[::1], int64[::1], int64, int32[::1])")
def _spread(residual, excess, offsets, last, step):
    """Even out the excess of neighbours, within the capacities, as long as that brings much flow to the sinks.

    Any flow within the capacities is a valid start for a maximum flow: excess changes by what flowed, the minimum cut
    does not.
    """
    first, before = -1, -1
    while True:
        supply, demand = 0, 0
        for v in range(excess.size):
            supply += max(excess[v], 0)
            demand -= min(excess[v], 0)
        if first < 0:
            first, before = supply, supply
        elif before - supply <= GAIN * (first - supply):
            return
        if supply == 0 or demand == 0:
            return
        before = supply
        for _ in range(SWEEPS):
            for a in range(0, last, CHUNK):
                b = min(a + CHUNK, last)
                for k in range(0, offsets.size, 2):
                    o = offsets[k]
                    _even_out(excess[a:b], excess[a + o : b + o], residual[k, a:b], residual[k + 1, a:b], step)


@compiled("void(int32[:,::1], int32[::1], int32[:,::1])")
def _spread_listed(residual, excess, neighbours):
    """As `_spread`, where neighbours are listed: one edge after the other, one sweep a step."""
    first, before = -1, -1
    while True:
        supply, demand = 0, 0
        for v in range(excess.size):
            supply += max(excess[v], 0)
            demand -= min(excess[v], 0)
        if first < 0:
            first = supply
        elif before - supply <= GAIN * (first - supply):
            return
        if supply == 0 or demand == 0:
            return
        before = supply
        for k in range(0, neighbours.shape[0], 2):
            for v in range(1, excess.size):
                w = neighbours[k, v]
                half = i32((excess[v] >> 1) - (excess[w] >> 1))
                flow = i32(min(max(half, i32(-residual[k + 1, v])), residual[k, v]))
                residual[k, v] = i32(residual[k, v] - flow)
                residual[k + 1, v] = i32(residual[k + 1, v] + flow)
                excess[v] = i32(excess[v] - flow)
                excess[w] = i32(excess[w] + flow)


@compiled()
def _even_out(first, second, forth, back, step):
    """Send half the difference along each edge, all at once: loops that the compiler can vectorise."""
    for i in range(first.size):
        half = i32((first[i] >> 1) - (second[i] >> 1))
        flow = i32(min(max(half, i32(-back[i])), forth[i]))
        forth[i] = i32(forth[i] - flow)
        back[i] = i32(back[i] + flow)
        step[i] = flow
    for i in range(first.size):
        first[i] = i32(first[i] - step[i])
    for i in range(first.size):
        second[i] = i32(second[i] + step[i])


@compiled()
def _augment(v, sink, k, residual, excess, offsets, level, parent, bucket, orphans):
    """Send what fits from the root of v, through slot k of v, to a sink; voxels cut off become orphans, counted."""
    flow = min(residual[k, v if k & 1 == 0 else sink], -excess[sink])
    u = v
    while parent[u] != ROOT:
        slot = parent[u] ^ 1
        child, u = u, _next(u, parent[u], offsets)
        flow = min(flow, residual[slot, u if slot & 1 == 0 else child])
    flow = min(flow, excess[u])

    _push(residual, k, v, sink, flow)
    excess[sink] += flow
    if excess[sink] == 0:
        level[sink] = 0
    cut, u = 0, v
    while parent[u] != ROOT:
        slot = parent[u] ^ 1
        child, u = u, _next(u, parent[u], offsets)
        _push(residual, slot, u, child, flow)
        if residual[slot, u if slot & 1 == 0 else child] == 0:
            parent[child] = NONE
            orphans[child], bucket[level[child]] = bucket[level[child]], child
            cut += 1
    excess[u] -= flow
    if excess[u] == 0:
        parent[u] = NONE
        orphans[u], bucket[1] = bucket[1], u
        cut += 1
    return cut


@compiled()
def _push(residual, k, v, w, flow):
    """Send flow from v through its slot k to w."""
    at = v if k & 1 == 0 else w
    residual[k, at] -= flow
    residual[k ^ 1, at] += flow


@compiled()
def _adopt(count, deepest, residual, offsets, level, parent, bucket, orphans, work):
    """Find new parents for orphans and, where there is none at their level, for all that hung on them.

    Nothing stays deeper than ``deepest``. Returns how many voxels have a new level; ``work`` begins with them.
    """
    slots = offsets.shape[0]
    # From the roots outwards: keep the level if another parent allows it, else leave the tree and orphan the children.
    lost, d = 0, 0
    while count:
        d += 1
        while bucket[d]:
            v = bucket[d]
            bucket[d] = orphans[v]
            count -= 1
            for k in range(slots):
                u = _next(v, k, offsets)
                if d > 1 and level[u] == d - 1 and residual[k ^ 1, u if k & 1 else v]:
                    parent[v] = k
                    break
            else:
                level[v] = 0
                work[lost] = v
                lost += 1
                for k in range(slots):
                    u = _next(v, k, offsets)
                    if parent[u] == k ^ 1 and level[u] == d + 1:
                        parent[u] = NONE
                        orphans[u], bucket[d + 1] = bucket[d + 1], u
                        count += 1
    # Those that left: the nearest parent among those that stayed.
    lowest = deepest + 1
    for i in range(lost):
        v, nearest = work[i], deepest
        for k in range(slots):
            u = _next(v, k, offsets)
            if 0 < level[u] < nearest and residual[k ^ 1, u if k & 1 else v]:
                nearest, parent[v] = level[u], k
        if nearest < deepest:
            orphans[v], bucket[nearest + 1] = bucket[nearest + 1], v
            lowest = min(lowest, nearest + 1)
    # Breadth first from there: a shorter way may lead through another that left.
    settled, done = 0, 0
    for d in range(lowest, deepest + 1):
        while bucket[d]:
            v = bucket[d]
            bucket[d] = orphans[v]
            if level[v] == 0:
                level[v] = d
                work[settled] = v
                settled += 1
        end = settled
        for i in range(done, end if d < deepest else done):
            v = work[i]
            for k in range(slots):
                w = _next(v, k, offsets)
                if level[w] == 0 and residual[k, w if k & 1 else v]:
                    level[w], parent[w] = d + 1, k ^ 1
                    work[settled] = w
                    settled += 1
        done = end
    return settled
