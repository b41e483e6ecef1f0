"""What CONTRIBUTING.md shows is true: each example's file and line, and nothing else, make the new thing work."""

import json
import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from labelled_sets import write_set

from bifseg.cli import main
from bifseg.errors import CannotWrite, DamagedFile, TooLarge
from bifseg.evaluation.methods import METHODS, Method
from bifseg.evaluation.protocols import PROTOCOLS, Protocol
from bifseg.imaging.image import Image
from bifseg.io.formats import FORMATS, Format
from bifseg.io.images import read_image, read_upload, write_image
from bifseg.networks import NETWORKS, Network
from bifseg.networks.checkpoint import load_model
from bifseg.server.uploads.receiving import suffix_of
from bifseg.server.views import media_types
from bifseg.training.recipes import own
from docs.generate import formats

ROOT = Path(__file__).parents[1]

for command in ("benchmark", "report", "train"):
    import_module(f"bifseg.cli.{command}")  # before a test adds anything: their help is of what ships, for other tests


@pytest.fixture
def example(monkeypatch):
    """Put an example's file into the package and its line into the registry, for a test."""

    def put(heading, registry, entry):
        text = (ROOT / "CONTRIBUTING.md").read_text()
        section = text.split(f"\n### {heading}\n")[1].split("\n## ")[0].split("\n### ")[0]
        source, line = re.findall(r"```python\n(.*?)```", section, re.S)
        path = source.splitlines()[0].removeprefix("# src/").removesuffix(".py")
        module = ModuleType(path.replace("/", "."))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(source, path, "exec"), module.__dict__)
        assert (ROOT / line.splitlines()[0].rpartition(", ")[2]).exists()
        ((name, made),) = eval(f"{{{line}}}", {entry.__name__: entry}).items()
        assert name not in registry
        monkeypatch.setitem(registry, name, made)
        return name

    return put


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "set"
    write_set(folder, ("a", "b"))
    return folder


def judged(folder, path, *options):
    options = ("--labels", "box", "--limit", 1, "--rounds", 1, *options)
    assert main([str(a) for a in ("benchmark", folder, "-o", path, *options)]) == 0
    assert main([str(a) for a in ("report", path, "-o", path.parent / "report")]) == 0
    return [json.loads(line) for line in path.read_text().splitlines()], (path.parent / "report/report.md").read_text()


def test_a_baseline(example, folder, tmp_path):
    name = example("A baseline", METHODS, Method)
    rows, told = judged(folder, tmp_path / "r.jsonl", "--methods", f"growcut,{name}")
    assert [row["method"] for row in rows] == ["growcut", "growcut", name, name]
    assert rows[-1]["dice"] > 0.5
    assert "nearest mean" in told


def test_a_file_format(example, tmp_path):
    name = example("A file format", FORMATS, Format)
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    write_image(tmp_path / "a.npy", array, Image(array))
    (tmp_path / "a").write_bytes((tmp_path / "a.npy").read_bytes())  # known by its content
    assert np.array_equal(read_image(tmp_path / "a").array, array)
    assert not read_upload(tmp_path / "a.npy", voxels=24, bytes=48).calibrated
    with pytest.raises(TooLarge):
        read_upload(tmp_path / "a.npy", voxels=23, bytes=48)
    (tmp_path / "b.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-1])
    with pytest.raises(DamagedFile, match="no NPY"):
        read_image(tmp_path / "b.npy")
    assert suffix_of("scan.npy") == ".npy"
    assert media_types()[name] == "application/octet-stream"
    assert "| NPY | `.npy` | `.npy` | any numbers |" in formats.page()
    with pytest.raises(CannotWrite, match=r"\.npy"):
        write_image(tmp_path / "a.xyz", array, Image(array))


def test_a_network(example, tmp_path, folder, capsys):
    name = example("A network", NETWORKS, Network)
    assert own(name, 2).settings == {"width": 8}
    path = tmp_path / "plain.safetensors"
    options = ("--network", name, "--steps", 2, "--every", 2, "--threads", 1, "--cache", tmp_path / "cache")
    assert main([str(a) for a in ("train", folder, "-o", path, *options)]) == 0
    assert load_model(str(path)).architecture == name
    assert main([str(a) for a in ("train", folder, "-o", path, "--network", "magic")]) == 2
    assert f"{name} (2D)" in capsys.readouterr().err


def test_a_protocol(example, folder, tmp_path):
    name = example("A protocol", PROTOCOLS, Protocol)
    rows, told = judged(folder, tmp_path / "r.jsonl", "--methods", "growcut,crf", "--protocol", name)
    assert [(row["protocol"], row["step"]) for row in rows] == [(name, 0), (name, 0)]
    assert f"2D, {name}: scores after each step" in told
    assert f"![2D, {name}" in told


def test_the_table_of_methods_is_what_their_entries_say():
    told = (ROOT / "docs" / "how-to" / "benchmark.md").read_text()
    for name, method in METHODS.items():
        cells = (f"`{name}`", method.help, method.begins_with, "yes", method.source)
        assert f"| {' | '.join(cells)} |" in told


def test_the_protocols_are_all_explained():
    told = (ROOT / "docs" / "how-to" / "benchmark.md").read_text()
    assert all(f"**`{name}`**" in told for name in PROTOCOLS)


def test_the_workflow_is_yaml_and_calls_what_there_is():
    yaml = pytest.importorskip("yaml")
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text("utf-8"))["jobs"]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert {*jobs["plain"]["strategy"]["matrix"]["target"]} <= {*targets}
    assert ".ci/run" in [step.get("run") for step in jobs["whole"]["steps"]]
    assert (ROOT / ".ci" / "run").is_file()
