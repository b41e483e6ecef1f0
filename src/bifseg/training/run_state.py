"""The files that a run of training goes on from, and its log."""

from __future__ import annotations

import glob
import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn
from torch.optim import Optimizer

from bifseg.io.atomic import write_atomically


class RunState:
    """The files that a run goes on from, each below 16 MB for networks as large as ours, and its log."""

    NAMES = ("network", "average", "exp_avg", "exp_avg_sq")

    def __init__(self, output: Path) -> None:
        self.output, self.journal = output, output.with_suffix(".jsonl")

    def _path(self, name: str, step: int) -> Path:
        return self.output.with_name(f"{self.output.stem}.{name}.{step}.state")

    def _files(self) -> list[Path]:
        return list(self.output.parent.glob(f"{glob.escape(self.output.stem)}.*.*.state"))

    def _steps(self) -> list[int]:
        """The steps of which all files are there, the last one last."""
        found = {int(number) for path in self._files() if (number := path.suffixes[-2][1:]).isdecimal()}
        return [step for step in sorted(found) if all(self._path(name, step).exists() for name in self.NAMES)]

    def save(self, network: nn.Module, average: nn.Module, optimiser: Optimizer, step: int, seconds: float) -> None:
        """Write the files of this step, then remove those of earlier ones: killed at any moment, a run goes on."""
        moments = optimiser.state_dict()["state"]
        parts = {
            "network": network.state_dict(),
            "average": average.state_dict(),
            **{name: {str(i): m[name] for i, m in moments.items()} for name in self.NAMES[2:]},
        }
        for name, tensors in parts.items():
            content = save({k: v.detach().contiguous().cpu() for k, v in tensors.items()}, {"seconds": str(seconds)})
            write_atomically(self._path(name, step), content)
        current = {self._path(name, step) for name in self.NAMES}
        for path in self._files():
            if path not in current:
                path.unlink(missing_ok=True)

    def resume(self, network: nn.Module, average: nn.Module, optimiser: Optimizer) -> tuple[int, float]:
        """Steps and seconds done before, with weights and moments as they were then."""
        if not (steps := self._steps()):
            return 0, 0.0
        step = steps[-1]
        parts, seconds = {}, 0.0
        for name in self.NAMES:
            with safe_open(self._path(name, step), framework="pt") as file:
                seconds = float(file.metadata()["seconds"])
                parts[name] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        network.load_state_dict(parts["network"])
        average.load_state_dict(parts["average"])
        moments = {
            int(i): {"step": torch.tensor(float(step)), "exp_avg": parts["exp_avg"][i], "exp_avg_sq": value}
            for i, value in parts["exp_avg_sq"].items()
        }
        optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
        return step, seconds

    def log(self, record: dict) -> None:
        with self.journal.open("a") as file:
            file.write(json.dumps(record) + "\n")
