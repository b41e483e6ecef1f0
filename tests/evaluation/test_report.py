"""The written report: every number comes out of the rows; Markdown, HTML and JSON say the same."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from result_rows import many, run, table_of

from bifseg.evaluation.report import write_report
from bifseg.evaluation.report.document import Cell, Heading, Items, Table, Text, markdown
from bifseg.evaluation.report.groups import group_rows, short_names
from bifseg.evaluation.report.page import page


class Tables(HTMLParser):
    """Captions, tables and figures of a page; ``open``: the elements that were not closed."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.open, self.links, self.ids, self.words = [], [], [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids |= {given["id"]} if "id" in given else set()
        self.links += [given[name] for name in ("href", "src") if name in given]
        if tag in ("meta", "img"):
            return
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if any(tag in ("td", "th") for tag in self.open):
            self.tables[-1][-1][-1] += data.replace("\xa0", " ")
        elif "style" not in self.open:
            self.words.append(data)


def markdown_tables(text: str) -> dict[str, list[list[str]]]:
    """The tables by caption, cells without marks."""
    found = {}
    for caption, body in re.findall(r"^\*\*(.+)\*\*\n\n((?:\|.*\n)+)", text, flags=re.M):
        lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in body.splitlines()]
        plain = [[re.sub(r"(?<!\\)\*", "", c).replace("\\", "").replace("&lt;", "<").strip() for c in x] for x in lines]
        found[caption] = [plain[0], *plain[2:]]
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report on both dimensions, two users, and both click protocols; one network has seen one data set."""
    folder = tmp_path_factory.mktemp("report")
    rows = many()
    rows += [row | {"network": "other", "seen": row["dataset"] == "Dataset002_B"}
             for row in many(1, ("network", "bifseg"))]  # fmt: skip
    rows += many(2, user="sloppy", datasets=("Dataset001_A",))
    rows += many(3, dimension=3, datasets=("Dataset001_A",))
    rows += many(4, protocol="challenge", user="challenge", dimension=3)
    rows += many(5, ("bifseg", "grabcut"), protocol="noc", user="noc", strokes=[2, 1, 1])
    picture = folder / "sheet.png"
    picture.write_bytes(b"\x89PNG made elsewhere")
    about = {
        "date": "2026-11-24",
        "machine": "a <fast> one",
        "versions": {"evaluator": "1"},
        "commands": ["bifseg x | y"],
    }
    summary = write_report(rows, [about], folder / "out", title="T & <t>", pictures=[(picture, "A sheet.")])
    return rows, folder / "out", summary


# ---- tables


@pytest.mark.parametrize(
    ("step", "key"), [(0, "networks-2d"), (0, "parts-2d-net-0"), (1, "parts-2d-net-1"), (2, "dice-2d-2")]
)
def test_every_number_of_a_table_comes_out_of_the_rows(written, step, key):
    """Means and deviations recomputed from the rows without the report's code."""
    rows, _, summary = written
    rows = [r for r in rows if (r["protocol"], r["dimension"], r["user"], r["step"]) == ("rounds", 2, "careful", step)]
    names = {
        "net": ("network", "net"), "other": ("network", "other"), "net +CRF": ("crf", "net"),
        "BIFSeg(-w)": ("bifseg-w", "net"), "BIFSeg": ("bifseg", "net"), "BIFSeg (net)": ("bifseg", "net"),
        "BIFSeg (other)": ("bifseg", "other"), "GrabCut": ("grabcut", None), "GeoS": ("geos", None),
    }  # fmt: skip
    checked = 0
    for (data, label), line in table_of(summary, key).items():
        for head in line.keys() - {"Data", "Object", "n"}:
            if data.startswith(("**", "Tm")):
                continue
            values = {}
            for r in rows:
                same = (r["method"], r["network"]) == names[head] and r["dataset"].endswith(f"_{data}")
                if same and label in (r["label"], "**all**"):
                    values.setdefault((r["case"], r["label"]), []).append(r["dice"])
            means = [np.mean(own) for own in values.values()]
            assert line[head]["mean"] == pytest.approx(np.mean(means), abs=1e-5)
            assert line[head]["sd"] == pytest.approx(np.std(means, ddof=1), abs=1e-5)
            assert line[head]["seen"] == (names[head][1] == "other" and data == "B")
            checked += 1
    assert checked >= 6 * 2


def test_times_to_the_level_come_out_of_the_rows(written):
    rows, _, summary = written
    checked = 0
    for line in summary["tables"]["time-2d"]["rows"]:
        if line["Data"].startswith("**"):
            continue
        own = [r for r in rows if (r["protocol"], r["dimension"], r["user"]) == ("rounds", 2, "careful")]
        own = [r for r in own if r["method"] == "geos" and r["dataset"][11:] == line["Data"]]
        spent, there = {}, {}
        for r in sorted((r for r in own if r["label"] == line["Object"]), key=lambda r: r["step"]):
            key = r["case"], r["seed"]
            spent[key] = spent.get(key, 0) + r["user_seconds"]
            if r["dice"] >= 0.9:
                there.setdefault(key, spent[key])
        middle = np.median([there.get(key, np.inf) for key in spent])
        assert line["GeoS"]["median"] == (pytest.approx(middle, abs=1e-4) if np.isfinite(middle) else None)
        assert line["GeoS"]["reached"] == pytest.approx(len(there) / len(spent), abs=1e-5)
        checked += 1
    assert checked == 4


def test_other_users_are_held_against_the_first_on_the_same_objects(written):
    _, _, summary = written
    lines = summary["tables"]["users-2d-last"]["rows"]
    assert [(line["User"], line["Objects"]) for line in lines] == [("careful", "6"), ("sloppy", "6")]  # B was seen
    rows = run([0.5], case="c0") + run([0.9], case="c1") + run([0.4], case="c0", user="careful:20")
    (group, other) = group_rows(rows)
    assert (group.user, other.user) == ("careful", "careful:20")


# ---- the written report


def test_markdown_page_and_summary_hold_the_same_numbers(written):
    _, folder, summary = written
    told = markdown_tables((folder / "report.md").read_text())
    parsed = Tables((folder / "index.html").read_text())
    assert not parsed.open
    assert list(told.values()) == parsed.tables
    assert len(told) == len(summary["tables"]) > 30
    assert {table["caption"] for table in summary["tables"].values()} == told.keys()
    assert json.loads((folder / "summary.json").read_text()) == summary
    for table in summary["tables"].values():
        assert len(table["rows"]) == len(told[table["caption"]]) - 1


def test_the_page_stands_alone(written):
    _, folder, _ = written
    text = (folder / "index.html").read_text()
    parsed = Tables(text)
    files = [link for link in parsed.links if not link.startswith("#")]
    assert files
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in files)
    assert {link[1:] for link in parsed.links if link.startswith("#")} <= parsed.ids
    assert {path.name for path in folder.iterdir()} == {*files, "report.md", "index.html", "summary.json"}
    assert "sheet.png" in files
    assert not re.search(r"https?:|@import|<script|url\(", text)
    assert "prefers-color-scheme: dark" in text
    assert "overflow-x: auto" in text
    assert "T & <t>" in parsed.words
    assert "a <fast> one" in " ".join(parsed.words)


def test_every_figure_is_in_both(written):
    _, folder, _ = written
    names = {path.name for path in folder.glob("*.png")}
    assert names >= {
        "curves-2d-rounds.png", "curves-2d-time.png", "boxes-2d.png", "ablation-2d-net.png", "ablation-3d.png",
        "challenge-3d-dice.png", "challenge-3d-nsd.png", "clicks-2d.png", "boxes-3d.png",
    }  # fmt: skip
    text = (folder / "report.md").read_text()
    assert all(f"]({name})" in text for name in names)


def test_all_files_are_written_or_none(tmp_path):
    (tmp_path / "report.md").write_text("old")
    (tmp_path / "summary.json").mkdir()
    with pytest.raises(OSError, match=r"summary\.json"):
        write_report(run([0.5]), [], tmp_path, figures=False)
    assert (tmp_path / "report.md").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"report.md", "summary.json"}


def test_names_cannot_break_the_report():
    blocks = [
        Heading("A <b> & *c*"), Text("x < 1 | `a|b` **bold**"), Items(["<script>"]),
        Table("k", "Cap | tion", ["a|b", "<i>"], [[Cell("x|y"), Cell("**1*", None, True)]], 1),
    ]  # fmt: skip
    assert markdown_tables(markdown(blocks))["Cap \\| tion"][0] == ["a|b", "<i>"]
    parsed = Tables(page(blocks))
    assert parsed.tables == [[["a|b", "<i>"], ["x|y", "**1*"]]]
    assert "<script>" in parsed.words
    assert not parsed.open


def test_short_names_stay_apart():
    assert short_names(["Dataset001_A", "Dataset002_B"]) == {"Dataset001_A": "A", "Dataset002_B": "B"}
    assert short_names(["Dataset001_A", "Dataset002_A", "C"]) == {
        "Dataset001_A": "Dataset001_A", "Dataset002_A": "Dataset002_A", "C": "C",
    }  # fmt: skip
