"""`bifseg doctor` looks at everything within a bounded time, and has a line of advice for what is amiss."""

import json
import webbrowser
from importlib import import_module

import pytest

from bifseg.cli import main

doctor = import_module("bifseg.cli.doctor")  # the package's name for it is the command


def test_it_looks_at_everything_and_says_how_fast(capsys, tmp_path):
    assert main(["doctor", "--json", "--data", str(tmp_path)]) == 0
    findings = {one["subject"]: one for one in json.loads(capsys.readouterr().out)}
    assert {"processor", "threads", "precision", "loops", "2D", "3D", "disk", "server", "DICOM", "figures"} <= set(
        findings
    )
    assert {"page", "browser"} & set(findings)
    assert "refinement" in findings["3D"]["found"]
    assert str(tmp_path) in findings["disk"]["found"]


def test_it_prints_advice_below_what_it_is_about(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    for look in ("processor", "waiting", "precision", "loops", "speed", "disk", "browser"):
        monkeypatch.setattr(doctor, look, lambda *_: [])
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[lines.index(f"{'figures':<12}not installed") + 1].endswith(
        'Figures need matplotlib: pip install "bifseg[figures]"'
    )


def test_threads_that_wait_awake_are_told_of(monkeypatch):
    for name in doctor.CHOICES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    (found,) = doctor.waiting()
    assert "OMP_WAIT_POLICY=ACTIVE" in found.found
    assert found.advice.startswith("Unset it")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    assert not next(doctor.waiting()).advice


def test_loops_that_are_kept_nowhere_are_told_of(monkeypatch):
    monkeypatch.setattr("bifseg.algorithms.machine_code.folder", lambda: None)
    assert "NUMBA_CACHE_DIR" in next(doctor.loops()).advice


def test_loops_that_are_kept_are_counted_where_they_are(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert next(doctor.loops()) == doctor.Finding("loops", "become machine code at the first mask")
    (tmp_path / "bifseg.algorithms.maxflow._search.0-12.o").touch()
    assert next(doctor.loops()) == doctor.Finding("loops", f"1 are kept as machine code in {tmp_path}")


def test_an_old_llvm_is_told_of(monkeypatch):
    monkeypatch.setattr("bifseg.algorithms.machine_code.is_usable", lambda: False)
    assert next(doctor.loops()).advice.startswith("Upgrade numba")


def test_without_a_browser_the_address_is_said(monkeypatch, tmp_path):
    def none():
        raise webbrowser.Error

    monkeypatch.setattr(webbrowser, "get", none)
    (found,) = doctor.browser()
    assert found.advice


@pytest.mark.parametrize("limit", ["ROOM", "SPEED"])
def test_a_disk_that_is_full_or_slow_is_told_of(limit, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "ROOM", 0.0)
    monkeypatch.setattr(doctor, "SPEED", 0.0)
    assert not next(doctor.disk(tmp_path)).advice
    monkeypatch.setattr(doctor, limit, 1e9)
    assert "--data FOLDER" in next(doctor.disk(tmp_path)).advice
