"""Threads sleep while they wait: by the environment where the process is ours, else with nothing changed."""

import subprocess
import sys

import pytest
import torch

from bifseg import threads
from bifseg.method import finetune
from bifseg.networks.threads import one_thread
from bifseg.prompts.interaction import Stroke
from bifseg.session.session import Session
from bifseg.training.synthetic.phantom import phantom

IDLE = """
import sys, time, torch
from bifseg.networks.threads import calm

def spent():
    spent = 0.0
    for _ in range(20):
        torch.ones(1 << 17).add_(1)
        begun = time.process_time()
        time.sleep(0.02)
        spent += time.process_time() - begun
    return spent

torch.set_num_threads(2)
awake = spent()
calm()
print(awake, spent(), torch.get_num_threads())
"""


def test_what_the_user_chose_stands():
    assert threads.waits({}) == threads.WAITS
    for name in threads.CHOICES:
        assert threads.waits({name: "1"}) == {}


@pytest.mark.parametrize(("set_before", "after"), [({}, "1000"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")])
def test_the_command_line_says_it_before_torch_is_loaded(set_before, after, monkeypatch):
    for name in threads.CHOICES:
        monkeypatch.delenv(name, raising=False)
    for name, value in set_before.items():
        monkeypatch.setenv(name, value)
    program = (
        "import os, sys; from bifseg.cli import main; assert 'torch' not in sys.modules; main(['--help']);"
        "print(os.environ.get('GOMP_SPINCOUNT'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == after


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP")
def test_in_another_program_threads_burn_no_time_while_they_wait(monkeypatch):
    for name in threads.CHOICES:
        monkeypatch.delenv(name, raising=False)

    command = [sys.executable, "-W", "ignore", "-c", IDLE]
    awake, calm, count = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert count == "2"
    if float(awake) < 0.02:
        pytest.skip("this OpenMP sleeps by itself")
    assert float(calm) < float(awake) / 3


def test_small_products_run_on_one_thread_and_what_the_caller_chose_comes_back(monkeypatch):
    before, seen = torch.get_num_threads(), []
    descend = finetune.descend

    def watched(*arguments, **options):
        seen.append(torch.get_num_threads())
        return descend(*arguments, **options)

    monkeypatch.setattr(finetune, "descend", watched)
    torch.set_num_threads(2)
    try:
        scan, _ = phantom(shape=(32, 32, 16))
        session = Session(scan)
        session.box(((8, 24), (8, 24), 8))
        session.scribble([Stroke([(12, 12, 8)], 1, radius=1), Stroke([(20, 20, 8)], 2, radius=1)])
        assert seen == [1] * len(seen)
        assert seen
        assert torch.get_num_threads() == 2
        with pytest.raises(ZeroDivisionError), one_thread():
            _ = 1 / 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
