"""Pictures of the worst, the median and the best: which objects they show, and that the page holds them."""

import io
import json

import numpy as np
import pytest
from labelled_sets import write_set
from matplotlib import image as matplotlib_image

from bifseg.cli import main
from bifseg.evaluation import sheets
from bifseg.io.datasets import open_dataset

pytestmark = pytest.mark.usefixtures("coarse")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sheets")
    write_set(folder / "set", ("a", "b", "c", "d"))
    assert main([
        "benchmark", str(folder / "set"), "--labels", "box", "--methods", "crf,growcut", "--rounds", "1",
        "-o", str(folder / "r.jsonl"),
    ]) == 0  # fmt: skip
    return folder


def test_the_worst_median_and_best_are_run_again(results, monkeypatch):
    rows = [json.loads(line) for line in (results / "r.jsonl").read_text().splitlines()]
    dataset = open_dataset(results / "set")
    shown = {}
    monkeypatch.setattr(sheets, "_drawn", lambda pictures, images: shown.update(pictures) or b"png")
    [(name, _, caption)] = sheets.draw_sheets(rows, lambda *_: dataset)
    assert name == "sheet-2d.png"
    assert "median" in caption
    assert list(shown) == ["crf", "growcut"]
    for method, pictures in shown.items():
        final = sorted(row["dice"] for row in rows if row["method"] == method and row["step"] == 1)
        wanted = [final[0], final[2], final[-1]]
        assert [p.caption.rpartition("Dice ")[2] for p in pictures] == [f"{100 * d:.0f}" for d in wanted]
        for picture, dice in zip(pictures, wanted, strict=True):
            both = np.count_nonzero(picture.mask & picture.truth)
            sizes = np.count_nonzero(picture.mask) + np.count_nonzero(picture.truth)
            assert 2 * both / sizes == pytest.approx(dice, abs=1e-4)
    assert sheets._chosen(rows, lambda *_: None) == {}
    with pytest.raises(ValueError, match="give the data sets"):
        next(sheets.draw_sheets(rows, lambda *_: None))


@pytest.mark.parametrize("options", [[], ["--outlines"]])
def test_the_report_shows_the_sheets(results, tmp_path, options):
    command = ["report", str(results / "r.jsonl"), "-o", str(tmp_path), "--no-figures"]
    assert main([*command, "--pictures", str(results / "set"), *options]) == 0
    pixels = matplotlib_image.imread(io.BytesIO((tmp_path / "sheet-2d.png").read_bytes()))
    assert min(pixels.shape[:2]) > 200
    assert "sheet-2d.png" in (tmp_path / "index.html").read_text()
    assert "sheet-2d.png" in (tmp_path / "report.md").read_text()


def test_other_data_cannot_be_drawn(results, tmp_path, capsys):
    write_set(tmp_path / "other", ("z",))
    assert (
        main(["report", str(results / "r.jsonl"), "-o", str(tmp_path / "out"), "--pictures", str(tmp_path / "other")])
        == 2
    )
    assert "give the data sets that they are about" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
