"""The files that a run of training goes on from, and its log."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn
from torch.optim import Optimizer

from bifseg.errors import InvalidInput
from bifseg.io.atomic import write_atomically


class RunState:
    """The files that a run goes on from, each below 16 MB for networks as large as ours, and its log."""

    NAMES = ("network", "average", "exp_avg", "exp_avg_sq")

    def __init__(self, output: Path) -> None:
        self.output, self.journal = output, output.with_suffix(".jsonl")

    def _path(self, name: str) -> Path:
        return self.output.with_name(f"{self.output.stem}.{name}.state")

    def save(self, network: nn.Module, average: nn.Module, optimiser: Optimizer, step: int, seconds: float) -> None:
        moments = optimiser.state_dict()["state"]
        parts = {
            "network": network.state_dict(),
            "average": average.state_dict(),
            **{name: {str(i): m[name] for i, m in moments.items()} for name in self.NAMES[2:]},
        }
        header = {"step": str(step), "seconds": str(seconds)}
        for name, tensors in parts.items():
            content = save({k: v.detach().contiguous().cpu() for k, v in tensors.items()}, header)
            write_atomically(self._path(name), content)

    def resume(self, network: nn.Module, average: nn.Module, optimiser: Optimizer) -> tuple[int, float]:
        """Steps and seconds done before, with weights and moments as they were then."""
        if not all(self._path(name).exists() for name in self.NAMES):
            return 0, 0.0
        parts, headers = {}, []
        for name in self.NAMES:
            with safe_open(self._path(name), framework="pt") as file:
                headers.append(file.metadata())
                parts[name] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if any(header != headers[0] for header in headers):
            raise InvalidInput(f"The files {self._path('*')} are of different moments; delete them and begin anew.")
        network.load_state_dict(parts["network"])
        average.load_state_dict(parts["average"])
        step = int(headers[0]["step"])
        moments = {
            int(i): {"step": torch.tensor(float(step)), "exp_avg": parts["exp_avg"][i], "exp_avg_sq": value}
            for i, value in parts["exp_avg_sq"].items()
        }
        optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
        return step, float(headers[0]["seconds"])

    def log(self, record: dict) -> None:
        with self.journal.open("a") as file:
            file.write(json.dumps(record) + "\n")
