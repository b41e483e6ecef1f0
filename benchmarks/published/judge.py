"""The published comparison: ``python -m benchmarks.published.judge rounds DATA -o runs``, a command per protocol.

Every method on objects of the fold "report" and of sets that are for reporting only, see `PARTS`; then `report`.
Given again, it goes on where it was, also from the packed rows of a finished run.
Protocols: rounds, unseen, users, humans, networks, printed, challenge, noc.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
from pathlib import Path

from benchmarks.published import report
from benchmarks.published.target import TARGETS
from bifseg.cli import main as bifseg
from bifseg.evaluation.methods import STANDARD
from bifseg.io.atomic import write_atomically, write_json

OTHERS = ",".join(TARGETS)
ACDC, ABDOMEN = ("Dataset101_ACDC", "--fold", "report"), ("Dataset107_AbdomenCT2D", "--fold", "report")
BRATS = ("Dataset102_BRATS2013", "--dimension", "3")
CORE = (*BRATS, "--channel", "0", "--region", "core=1,3,4", "--labels", "core")
WHOLE = (*BRATS, "--channel", "1", "--region", "whole=1,2,3,4", "--labels", "whole")
FETAL = ("Dataset103_FetalBrainAtlas", "--dimension", "3", "--cases", "FETAL_CRL*", "--limit", "2")
SARCOMA = ("Dataset104_SarcomaMR", "--dimension", "3", "--limit", "4")
ORGANS = "spleen,kidney_right,liver,urinary_bladder,femur_left"
BODY = ("Dataset115_BodyCT", "--dimension", "3", "--labels", ORGANS)
HIPPOCAMPI = ("Dataset108_Hippocampus", "--fold", "report", "--limit", "20")
DEEP = ",".join(f"Czeibert_{k}" for k in (1, 4, 5, 13, 42, 43, 46, 71, 72, 75))
BREAST = ("Dataset154_BreastLesionMR",)  # of fewer voxels than an object in 3D has here
EVALUATION_ONLY = (
    ("Dataset153_StrokeMR",), ("Dataset163_VertebraMR_T2",), ("Dataset164_IntervertebralDiscMR",),
    ("Dataset166_DogBrain", "--labels", DEEP),
)  # fmt: skip
PARTS_OF_BRAIN = "cerebellum,brainstem,white_matter"
WEIGHTS = Path(os.path.relpath(Path(__file__).parents[1])) / "networks"

PARTS: dict[str, list[tuple[str, ...]]] = {
    "rounds": [
        (*ACDC, "--limit", "10", "--repeats", "2"), (*ABDOMEN, "--limit", "8", "--repeats", "2"),
        CORE, WHOLE, FETAL, SARCOMA, BODY,
    ],
    "unseen": [
        (*part, "--dimension", dimension, "--methods", f"bifseg,bifseg-scribbles,crf,network,{OTHERS}")
        for dimension, parts in (
            ("2", (*EVALUATION_ONLY, BREAST, HIPPOCAMPI, CORE, WHOLE, FETAL)),
            ("3", (*EVALUATION_ONLY, HIPPOCAMPI, (*ACDC, "--limit", "10"))),
        )
        for part in parts
    ],
    "users": [
        (*part, "--limit", limit, "--rounds", "3", "--methods", f"bifseg,bifseg-scribbles,crf,{OTHERS}", "--users",
         "careful,sloppy,line,contour,clicks,careful:0,careful:5,careful:20")
        for part, limit in ((ACDC, "3"), (ABDOMEN, "1"))
    ],
    "humans": [
        (*ACDC, "--limit", "10", "--rounds", "1", "--users", "human",
         "--methods", f"bifseg,bifseg-scribbles,bifseg-e,cut,crf,network,{OTHERS}"),
        ("Dataset120_MedScribble", "--rounds", "1", "--users", "human", "--repeats", "3",
         "--methods", f"bifseg,bifseg-scribbles,bifseg-e,cut,crf,network,{OTHERS}"),
    ],
    "networks": [
        (*part, "--rounds", "1", "--methods", "bifseg,crf,network", "--networks", "2D")
        for part in ((*ACDC, "--limit", "10"), (*ABDOMEN, "--limit", "8"))
    ] + [
        (*part, "--rounds", "1", "--methods", "bifseg,crf,network", "--networks", "3D")
        for part in (CORE, WHOLE, FETAL, SARCOMA, BODY)
    ],
    "printed": [
        (*part, "--rounds", "1", "--methods", "bifseg-printed,bifseg,crf,network")
        for part in ((*ACDC, "--limit", "10"), CORE)
    ],
    "challenge": [
        (*part, "--protocol", "challenge", "--methods", f"bifseg,crf,cut,{OTHERS}")
        for part in (CORE, WHOLE, (*FETAL, "--labels", PARTS_OF_BRAIN), (*SARCOMA, "--limit", "2"))
    ],
    "noc": [
        (*part, "--protocol", "noc", "--limit", "3", "--methods", f"bifseg,crf,cut,{OTHERS}")
        for part in (ACDC, ABDOMEN)
    ],
}  # fmt: skip
"""Of every protocol its runs: data set and options of `bifseg benchmark`."""

NETWORKS = {
    "2D": ["fcn2d", "multiscale2d", "pnet", *(str(WEIGHTS / f"{name}.safetensors") for name in ("fcn", "unet"))],
    "3D": ["multiscale3d", "pcnet", *(str(WEIGHTS / f"{name}.safetensors") for name in ("deepmedic", "highres3dnet"))],
}


def check_weights() -> None:
    """Ends with the command that makes the comparison networks, where one of their files is missing."""
    files = [Path(name) for names in NETWORKS.values() for name in names if name.endswith(".safetensors")]
    if missing := [str(path) for path in files if not path.exists()]:
        raise SystemExit(f"There is no {', '.join(missing)}; {WEIGHTS / 'README.md'} tells the command that trains it.")


def tell_commit(about: Path) -> None:
    """Write into what is told of results at which commit they were completed; where there is no git, nothing."""
    found = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    if found.returncode == 0:
        write_json(about, {**json.loads(about.read_bytes()), "commit": found.stdout.strip()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("protocol", choices=list(PARTS))
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for PROTOCOL.jsonl.gz and its report")
    parser.add_argument("--jobs", default="1", help="processes of one thread")
    parser.add_argument("--methods", default=",".join((*STANDARD, "cut", "bifseg-e")), help="of the protocol rounds")
    arguments = parser.parse_args()
    results = arguments.output / f"{arguments.protocol}.jsonl"
    packed = results.with_suffix(".jsonl.gz")
    if arguments.protocol == "networks":
        check_weights()
    if packed.exists() and not results.exists():
        results.write_bytes(gzip.decompress(packed.read_bytes()))
    for name, *options in PARTS[arguments.protocol]:  # those of one file are told together in its .about.json
        if "--methods" not in options:
            options += ["--methods", arguments.methods]
        options = [",".join(NETWORKS.get(option, [option])) for option in options]
        if bifseg(["benchmark", str(arguments.data / name), *options, "--jobs", arguments.jobs, "-o", str(results)]):
            raise SystemExit(f"{arguments.protocol} stopped at {name}; give the same command again.")
    tell_commit(results.with_suffix(".about.json"))
    write_atomically(packed, gzip.compress(results.read_bytes(), 9, mtime=0))
    results.unlink()
    report.write([packed], arguments.output / arguments.protocol)


if __name__ == "__main__":
    os.environ.setdefault("BIFSEG_PRECISION", "float32")  # rows are the same on CPUs that multiply bfloat16, too
    main()
