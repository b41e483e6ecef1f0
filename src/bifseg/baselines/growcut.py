"""GrowCut (Vezhnevets & Konouchine, GraphiCon 2005): labels that conquer their neighbours, at their fixed point."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from bifseg.algorithms.graphcut import grid_edges
from bifseg.baselines.scribbled import Scribbled
from bifseg.method.grid import Grid
from bifseg.prompts.interaction import FOREGROUND

TINY = 1e-12  # SciPy drops an edge of length 0; also the order among paths of equal strength: the shortest wins


class GrowCut(Scribbled):
    """Cells of the two labels attack their neighbours; the defender falls if its strength is less than the attack's.

    A cell q attacks p with strength g(|C_p - C_q|) * theta_q, g(x) = 1 - x / max |C| (their Eq. 3 and 4); seeds
    have theta = 1. ``neighbours``: the cells' neighbourhood, (2D, 3D).

    Departs from the original in how it is computed, not in what: the automaton comes to rest when every cell has the
    largest product of g along any path from a seed, and that seed's label, which is a shortest path under -log g
    (as in the fast GrowCut of Zhu et al. 2014). Their limits on the number of attackers, a smoothing of the border by
    the user's choice, are left out.
    """

    def __init__(self, neighbours: tuple[int, int] = (8, 26)) -> None:
        self.neighbours = neighbours

    def _begin(self, grid: Grid) -> None:
        self._graph = attack_graph(grid.image01, self.neighbours[grid.image01.ndim - 2])

    def _segment(self, grid: Grid, scribbles: np.ndarray) -> np.ndarray:
        return conquer(self._graph, scribbles) == FOREGROUND


def attack_graph(image01: np.ndarray, neighbours: int) -> csr_array:
    """-log g of every pair of neighbouring cells: (pixels, pixels), symmetric, in C order of the image."""
    image = np.asarray(image01, float)
    index = np.arange(image.size, dtype=np.int32).reshape(image.shape)
    strongest = image.max() or 1.0
    heads, tails, lengths = [], [], []
    for first, second, _ in grid_edges(image.shape, neighbours):
        g = 1 - np.abs(image[first] - image[second]) / strongest
        with np.errstate(divide="ignore"):
            length = np.maximum(-np.log(g), TINY).ravel()
        open_to_attack = np.isfinite(length)  # g = 0: an attack without strength
        for a, b in ((first, second), (second, first)):
            heads.append(index[a].ravel()[open_to_attack])
            tails.append(index[b].ravel()[open_to_attack])
            lengths.append(length[open_to_attack])
    return csr_array(
        (np.concatenate(lengths), (np.concatenate(heads), np.concatenate(tails))), shape=(image.size, image.size)
    )


def conquer(graph: csr_array, scribbles: np.ndarray) -> np.ndarray:
    """The automaton at rest: the label of each cell, of the shape of ``scribbles``; 0 where no attack arrives."""
    flat = scribbles.ravel()
    seeds = np.flatnonzero(flat)
    _, _, source = dijkstra(graph, indices=seeds, min_only=True, return_predecessors=True)
    return np.where(source >= 0, flat[np.maximum(source, 0)], 0).reshape(scribbles.shape)  # below 0: none arrives
