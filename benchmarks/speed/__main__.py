"""How near the machine's limit: ``python -m benchmarks.speed``, everything in one process, some six minutes.

Every stage of a first mask and a refinement against what this machine could do at best, the paper's other methods on
the same boxes, growth with box and scan, memory, a fresh process and what it imports, and the promises beside two busy
processes. Writes results/speed.json, results/speed.md and pictures/speed.png into the folder given by ``-o`` (docs).
For numbers to be told, leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.speed import fresh, load, machine, ours, peers
from benchmarks.speed.picture import draw
from benchmarks.speed.scenes import scene
from benchmarks.speed.tables import document
from benchmarks.speed.targets import targets
from benchmarks.speed.timing import BF16, FP32, Case, Measurement, take_in_turn
from bifseg.io import images
from bifseg.io.atomic import write_atomically
from bifseg.networks.checkpoint import DEFAULT

SIZES = {2: (32, 64, 128, 256), 3: (16, 32, 48, 64, 80, 112, 160)}
NETWORKS = {2: (DEFAULT[2], "pnet"), 3: (DEFAULT[3], "pcnet")}
BOX = {2: 128, 3: 80}  # what promises are about
SCENES = "Synthetic objects (bifseg.training.synthetic), the same scenes at every size, careful simulated strokes."
SHARES = {"open": 0.02, "stages": 0.4, "printed": 0.1, "peers": 0.15, "grid": 0.15, "scan": 0.08, "loaded": 0.1}
"""The parts that are timed, and how much of the time each may take."""
FASTER = 0.9  # of its limit: nothing can be, so the limit is wrong
PARTS = (*SHARES, "memory", "cold", "imports")


@dataclass(frozen=True)
class Extent:
    """How much is measured."""

    sizes: dict[int, tuple[int, ...]]
    presets: tuple[str, ...] = ("fast", "paper")
    peers: tuple[str, ...] = peers.PEERS
    seeds: int = 3  # scenes, which repetitions take in turn
    repetitions: int = 15
    scans: tuple[int, ...] = (96, 256, 512)
    file: int = 256  # voxels along a side of the scan that is opened
    box: tuple[tuple[int, int], ...] = tuple(BOX.items())
    networks: Mapping[int, tuple[str, ...]] = field(default_factory=lambda: NETWORKS)
    grids: Mapping[int, int] = field(default_factory=dict)  # by dimension, in the place of the networks' own
    compared: tuple[int, ...] = (2, 3)  # dimensions in which other methods are run
    products: tuple[int, ...] = (1024, 1536, 2048)  # sides of the matrices whose product tells the machine's own speed
    copied: int = 256  # MiB, whose copy tells its bandwidth
    best_of: int = 6  # both


FULL = Extent(SIZES)
QUICK = Extent(
    {2: (64, 128), 3: (48, 80)}, presets=("fast",), seeds=1, repetitions=3, scans=(96, 256), file=96,
    products=(512, 1024), copied=64, best_of=3,
)  # fmt: skip


def cases(part: str, extent: Extent, folder: Path) -> list[Case]:
    """Everything that one part times."""
    sized = [(d, side) for d, sides in extent.sizes.items() for side in sides]
    box = dict(extent.box)
    made: dict[str, Callable[[], list[Case]]] = {
        "open": lambda: [ours.open_case(folder, suffix, extent.file) for suffix in (".nii", ".nii.gz")],
        "stages": lambda: [
            ours.case("stages", d, side, network, preset, extent.seeds, extent.grids.get(d))
            for d, side in sized for network in extent.networks[d] for preset in extent.presets
        ],
        "printed": lambda: [
            ours.printed_case("pnet" if d == 2 else "pcnet", side) for d, side in extent.box
        ],
        "peers": lambda: [
            c for d, side in extent.box if d in extent.compared
            for c in peers.cases(d, side, extent.peers, extent.seeds)
        ],
        "grid": lambda: [ours.case("grid", d, side, NETWORKS[d][0], "fast", extent.seeds, side) for d, side in sized],
        "scan": lambda: [ours.scan_case(scan, box[3], extent.grids.get(3)) for scan in extent.scans],
        "loaded": lambda: load.cases(extent.box, extent.networks, extent.seeds, extent.grids),
    }  # fmt: skip
    return made[part]()


def separate(part: str, extent: Extent, folder: Path, threads: int) -> list[dict]:
    """What fresh processes tell: their memory, or the wait for their first mask."""
    told = []
    if part == "imports":
        return fresh.imports()
    for d, side in extent.box:
        found, path = scene(d, side), folder / f"scan{d}.nii"
        images.write_image(path, found.image.array, found.image)
        own = ours.model_of(NETWORKS[d][0], d).size
        if part == "memory":
            for grid in dict.fromkeys((own, side)):
                answer = fresh.ask("memory", path, found.box, threads, grid)
                told.append({"dimension": d, "side": side, "grid": grid, **answer})
        else:
            for compiled in (False, True):
                with TemporaryDirectory() as empty:
                    answer = fresh.ask("cold", path, found.box, threads, None, None if compiled else Path(empty))
                told.append({"dimension": d, "side": side, "compiled": compiled, "beside": 0, **answer})
            with load.busy().working():
                answer = fresh.ask("cold", path, found.box, threads, None)
            told.append({"dimension": d, "side": side, "compiled": True, "beside": load.COUNT, **answer})
    return told


def rates(extent: Extent) -> dict[str, float]:
    """Operations a second by arithmetic, and bytes a second."""
    found = {name: machine.matrix_rate(name, extent.products, extent.best_of) for name in (FP32, BF16)}
    return {**found, "bandwidth": machine.memory_bandwidth(extent.copied, extent.best_of)}


def measure(
    parts: Sequence[str], extent: Extent, *, seconds: float, threads: int, quick: bool, say: Callable[[str], None]
) -> dict:
    """All that was asked for, and what `write` tells of it."""
    torch.set_num_threads(threads)
    about, began = machine.about(threads), time.perf_counter()
    about |= {"scenes": SCENES, "quick": quick, "warnings": []}
    if (load := about["load_average_at_start"]) > machine.QUIET:
        about["warnings"].append(f"The machine was not quiet: its load average was {load} at the start.")
    before = rates(extent)
    for d in SIZES:  # what is loaded or compiled once
        for preset in extent.presets:
            ours.case("warm", d, 16, NETWORKS[d][0], preset, 1, extent.grids.get(d)).take(0)
    done: list[Case] = []
    extra: dict[str, list[dict]] = {}
    with TemporaryDirectory() as folder:
        for part in parts:
            say(f"{part}, {time.perf_counter() - began:.0f} s after the start")
            if part in SHARES:
                share = SHARES[part] / sum(SHARES[p] for p in parts if p in SHARES)
                made = cases(part, extent, Path(folder))
                take_in_turn(made, extent.repetitions, share * seconds, say)
                done += made
                scene.cache_clear()
            else:
                extra[part] = separate(part, extent, Path(folder), threads)
    after = rates(extent)
    best = {name: max(before[name], after[name]) for name in before}
    if any(abs(before[name] / after[name] - 1) > 0.1 for name in before):
        about["warnings"].append("The machine's own speed changed by more than a tenth during the run.")
    found = [m for case in done for m in case.measurements(best, best["bandwidth"])]
    if any(m.ratio is not None and m.ratio < FASTER for m in found):
        about["warnings"].append(
            "Something ran faster than its limit: the machine was disturbed while its own were taken."
        )
    about["seconds"] = round(time.perf_counter() - began)
    return {"about": about, "machine": {**best, "before": before, "after": after}, "found": found, "extra": extra}


def write(told: dict, folder: Path) -> str:
    """Write the three files; returns the page."""
    found: list[Measurement] = told["found"]
    aims = targets(found, told["extra"].get("memory", []), told["extra"].get("cold", []))
    data = {
        "about": told["about"], "machine": told["machine"], "targets": [aim.as_dict() for aim in aims],
        **told["extra"], "measurements": [m.as_dict() for m in found],
    }  # fmt: skip
    page = document(told["about"], told["machine"], found, told["extra"], aims)
    for name in ("results", "pictures"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "results" / "speed.json", (json.dumps(data, indent=1) + "\n").encode())
    write_atomically(folder / "results" / "speed.md", page.encode())
    if (picture := draw(found)) is not None:
        write_atomically(folder / "pictures" / "speed.png", picture)
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parents[2] / "docs", metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="few sizes, three repetitions")
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=PARTS, metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--seconds", type=float, help="what is timed may take about so long (200; quick: 60)")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    told = measure(
        [part for part in PARTS if part in arguments.only],
        QUICK if arguments.quick else FULL,
        seconds=arguments.seconds or (60 if arguments.quick else 200),
        threads=arguments.threads,
        quick=arguments.quick,
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )
    print(write(told, arguments.output))


if __name__ == "__main__":
    main()
