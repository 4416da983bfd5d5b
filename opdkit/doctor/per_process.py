"""Computes the per-process memory of a sharded run from model shapes, without reading weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

from opdkit.doctor.report import Grid, Note, Section
from opdkit.errors import UserError
from opdkit.models import LanguageModel, ModelSpec, load_skeleton
from opdkit.models.layers import layers_of
from opdkit.training.experiment import Experiment
from opdkit.training.run_models import parts_of

_GIB = 2.0**30
_MOMENTS = 2


@dataclass(frozen=True)
class Held:
    """Bytes of one model in one process.

    Attributes:
        dtype: storage dtype of the weights.
        part: its shard of the weights.
        trained: the trainable part of the shard.
        layer: the largest layer when gathered, in the compute dtype.
        root: embedding, final norm and lm_head when gathered.
        adding: gradients of root during accumulation, in the backward dtype and in float32.
        whole: all weights gathered, as during generation; 0 if the process keeps them all.
    """

    dtype: str
    part: int
    trained: int
    layer: int
    root: int
    adding: int
    whole: int


def held(model: LanguageModel, processes: int, computes: torch.dtype | None) -> Held:
    """Memory of a sharded model in the process that holds most; with one process, the whole model.

    computes: dtype of gathered weights, None for the model's.
    """
    parameters, dtype = list(model.module.parameters()), str(model.module.dtype).removeprefix("torch.")
    part = sum(_part(p, processes) * p.element_size() for p in parameters)
    trained = [p for p in parameters if p.requires_grad]
    kept = sum(_part(p, processes) * p.element_size() for p in trained)
    if processes == 1:
        return Held(dtype, part, kept, 0, 0, 0, 0)
    layers = [list(layer.parameters()) for layer in layers_of(model.module, "shard=fsdp2", model.name)]
    inside = {id(p) for layer in layers for p in layer}
    root = [p for p in parameters if id(p) not in inside]
    return Held(
        dtype,
        part,
        kept,
        max(_gathered(layer, computes) for layer in layers),
        _gathered(root, computes),
        sum(_gathered([p for p in root if p.requires_grad], wide) for wide in (computes, torch.float32)),
        _gathered(parameters, computes),
    )


def _part(parameter: nn.Parameter, processes: int) -> int:
    """Elements of a row-sharded weight in the first process."""
    if not parameter.dim():
        return parameter.numel()
    rows = parameter.shape[0]
    return -(-rows // processes) * (parameter.numel() // max(1, rows))


def _gathered(parameters: Iterable[nn.Parameter], computes: torch.dtype | None) -> int:
    return sum(p.numel() * (p.dtype if computes is None else computes).itemsize for p in parameters)


def per_process(experiment: Experiment, world_size: int) -> Section:
    """Memory of weights, gradients and optimiser state in each of `world_size` processes. Raises UserError for a run
    that can't be sharded or a model whose config can't be read."""
    if experiment.shard != "none" and world_size < 2:
        raise UserError(f"world_size={world_size}: shard={experiment.shard} needs at least 2 processes")
    divided = parts_of(experiment, world_size)
    computes = torch.bfloat16 if experiment.precision == "bfloat16" else None
    model, adapter = load_skeleton(experiment.model), experiment.adapter
    notes: list[Note] = []
    if adapter is not None:
        if adapter.quantize != "none":
            notes.append(Note("ok", f"adapter.quantize={adapter.quantize} is not counted: 0.53 bytes a linear weight"))
        model = replace(adapter, quantize="none").attach(model, experiment.model, None)
    student, memory = held(model, divided, computes), _Memory(experiment.shard_offload)
    memory.keeps(f"student: weights ({student.dtype})", student.part)
    whose = "student" if adapter is None else "adapters"
    memory.keeps(f"{whose}: gradients", student.trained)
    memory.keeps(f"{whose}: AdamW's two moments", _MOMENTS * student.trained)
    memory.gathers("student", student)
    if student.adding:
        memory.needs("student: gradients of embedding and lm_head, accumulated", student.adding)
    read = student.part * divided
    for name, spec in _teachers(experiment):
        if not isinstance(spec, ModelSpec):
            notes.append(Note("ok", f"teacher {name} is not counted: its config has no shapes"))
            continue
        teacher = held(load_skeleton(spec, "teacher"), divided, None)
        memory.keeps(f"teacher: weights ({teacher.dtype})", teacher.part)
        memory.gathers("teacher", teacher)
        read = max(read, teacher.part * divided)
    notes.insert(0, Note("ok", f"{world_size} processes: at least {memory.sums()} in each, activations not counted"))
    memory.closed()
    if divided > 1:
        memory.needs("the full student, gathered for generation", student.whole)
        memory.needs("in host memory during loading: the larger model", read, host=True)
    return Section(f"memory of a process, shard={experiment.shard}", tuple(notes), (memory.grid(),))


class _Memory:
    """The memory table of a process, one row per item.

    Args:
        offloads: whether items kept between passes are in host memory.
    """

    def __init__(self, offloads: bool) -> None:
        self._offloads = offloads
        self._rows: list[tuple[str, int, int]] = []

    def needs(self, name: str, size: int, *, host: bool = False) -> None:
        """Adds a row of device or host memory. With a single column its name says which."""
        host = host and self._offloads
        self._rows.append((name, 0 if host else size, size if host else 0))

    def keeps(self, name: str, size: int) -> None:
        """Adds a row of memory held between passes."""
        self.needs(name, size, host=True)

    def gathers(self, whose: str, model: Held) -> None:
        """Adds rows for weights gathered during computation."""
        for part, size in (("a layer", model.layer), ("embedding and lm_head", model.root)):
            if size:
                self.needs(f"{whose}: {part}, gathered", size)

    def sums(self) -> str:
        """The total in words."""
        device, host = self._sums()
        return f"{_gib(device)} GiB" + (f" and {_gib(host)} GiB of host memory" if self._offloads else "")

    def closed(self) -> None:
        """Adds the total of the rows so far; later rows are transient."""
        self._rows.append(("total", *self._sums()))

    def grid(self) -> Grid:
        """The rows with their sum."""
        if not self._offloads:
            return Grid(("in each process", "GiB"), tuple((name, _gib(size)) for name, size, _ in self._rows))
        columns = ("in each process", "device, GiB", "host, GiB")
        rows = ((name, *(_gib(size) if size else "" for size in sizes)) for name, *sizes in self._rows)
        return Grid(columns, tuple(rows))

    def _sums(self) -> tuple[int, int]:
        return sum(device for _, device, _ in self._rows), sum(host for *_, host in self._rows)


def _teachers(experiment: Experiment) -> Iterator[tuple[str, object]]:
    """The distinct teachers."""
    seen: list[object] = []
    for task in experiment.tasks().values():
        for term in task.terms:
            if term.teacher is not None and term.teacher not in seen:
                seen.append(term.teacher)
                yield term.teacher.path, term.teacher


def _gib(size: int) -> str:
    return f"{size / _GIB:,.2f}" if size >= _GIB / 100 else f"{size / _GIB:.2g}"
