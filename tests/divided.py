"""A step of training with divided weights in the processes that torchrun starts, and what each then holds in bytes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.generation import HFRollout
from opdkit.models import Request
from opdkit.models.placement import local_part
from opdkit.models.sharded import FullyShard
from opdkit.samplers import Ancestral
from opdkit.training.optimizer import AdamW
from opdkit.training.policy import Policy
from opdkit.world.launched import Teller, joined
from opdkit.world.turns import Turns
from opdkit.world.world import World
from tests.tiny import rendered, tiny_model, tiny_problems, written

WIDE = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 6}


def _rollout() -> Rollout:
    model = tiny_model(0)
    return written(HFRollout(4), model, rendered(model, tiny_problems(2)), Ancestral(), 1.0, (1, 2))


def _bytes(tensors: list[Tensor]) -> int:
    """What this process holds; memory that several tensors share counts once."""
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in map(local_part, tensors)}
    return sum(storages.values())


def _measure() -> dict[str, int]:
    world = World.current()
    placement = FullyShard(world, torch.device("cpu"), Turns(world))
    model = placement.place(lambda: tiny_model(0, **WIDE))
    policy = Policy.of(model, AdamW(), Accelerator(cpu=True), 1.0, placement)
    rollout = _rollout()
    with placement.together():
        scores = policy.score(rollout, rollout.sampled_mask, Request(sampled=True))
        assert scores.sampled_log_prob is not None
        scores.sampled_log_prob.sum().backward()
    found = {"gradients": _bytes([p.grad for p in model.own_parameters().values() if p.grad is not None])}
    policy.clip(1.0)
    policy.optimizer.step()
    states = [value for state in policy.optimizer.state.values() for value in state.values() if value.dim()]
    found |= {"weights": _bytes(list(model.own_parameters().values())), "moments": _bytes(states)}
    with torch.no_grad(), placement.together():
        policy.score(rollout, rollout.sampled_mask, Request(sampled=True))
    lying = _bytes(list(model.module.parameters()))  # the root is gathered now, and no layer is
    layers = {id(p) for layer in model.module.model.layers for p in layer.parameters()}
    found["root"] = _bytes([p for p in model.module.parameters() if id(p) not in layers])
    found["layers"] = lying - found["root"]
    with model.whole():
        found["whole"] = _bytes(list(model.module.parameters()))
    return found


if __name__ == "__main__":
    with joined("train", ("train",), Teller()):
        told = World.current().gathered(_measure())
        if World.current().main:
            Path(sys.argv[1]).write_text(json.dumps(told))
