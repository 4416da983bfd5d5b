"""Opens the models of a run: their placement, the student, and the teacher of each term."""

from __future__ import annotations

from dataclasses import replace

import torch

from opdkit.errors import UserError
from opdkit.models import LanguageModel, load, prove_packing
from opdkit.models.placement import Placement, Whole
from opdkit.runs.checkpoint import Found
from opdkit.seeding import derive_seed
from opdkit.teachers import OpenTeacher, Teacher, TeacherContext, open_teachers
from opdkit.training.experiment import Experiment
from opdkit.world.turns import Turns
from opdkit.world.world import World


def placement_of(experiment: Experiment, device: torch.device) -> Placement:
    """The placement of the run's models on its ranks."""
    if experiment.shard == "none":
        return Whole(device)
    from opdkit.models.sharded import FullyShard, require_torch  # torch.distributed.tensor is slow to import

    require_torch()
    world = World.current()
    return FullyShard(world, device, Turns(world), experiment.shard_replicas, experiment.shard_offload)


def parts_of(experiment: Experiment, processes: int) -> int:
    """The number of ranks that each model is sharded over. Raises UserError if that is impossible."""
    if experiment.shard == "none":
        return 1
    copies = experiment.shard_replicas
    if processes == 1:
        raise UserError(
            f"shard={experiment.shard}: divides weights among several processes, and there is one; start it with "
            "torchrun --nproc_per_node N -m opdkit train, or say shard=none"
        )
    if processes % copies or processes // copies < 2:
        raise UserError(
            f"shard_replicas={copies}: {processes} processes can't be {copies} groups of the same size, of at least 2; "
            "allowed: as many groups as there are machines, or 1"
        )
    return processes // copies


def open_student(experiment: Experiment, found: Found | None, device: torch.device) -> LanguageModel:
    """The model to train, from the checkpoint if the run is resumed; with an adapter, its base is the original. Sharded
    weights are restored later, shard by shard."""
    spec, adapter = experiment.model, experiment.adapter
    if found and adapter is None and experiment.shard == "none":
        spec = replace(spec, path=str(found.folder), revision=None)
    if adapter is not None:
        spec = replace(spec, quantize=adapter.quantize)
    model = load(spec, device, "model", trains=adapter is None)
    if adapter is not None:
        torch.manual_seed(derive_seed(experiment.seed, "adapter"))
        saved = found.folder if found and experiment.shard == "none" else None
        model = adapter.attach(model, spec, saved)
    if experiment.batch.packing:
        model = prove_packing(model, "model")
    _require_float32(model, spec.dtype)
    return replace(model, name=experiment.model.path, autocast=autocast_of(experiment))


def _require_float32(model: LanguageModel, dtype: str) -> None:
    """Raises UserError for 16-bit weights, whose rounding loses updates of typical size."""
    if any(p.requires_grad and p.element_size() < 4 for p in model.module.parameters()):
        raise UserError(
            f"model.dtype={dtype}: weights of 16 bits lose most of an update to rounding; allowed: model.dtype=float32 "
            f"(precision=bfloat16 still computes in 16 bits), or adapter=lora, whose own weights have 32"
        )


def autocast_of(experiment: Experiment) -> torch.dtype | None:
    """The models' dtype of computation, None for that of their weights."""
    return torch.bfloat16 if experiment.precision == "bfloat16" else None


def teachers_of(
    experiment: Experiment, student: LanguageModel, placement: Placement
) -> dict[tuple[str, str], OpenTeacher]:
    """The open teacher of each (task, term) that has one."""
    wanted: dict[tuple[str, str], Teacher] = {
        (name, term.name): term.teacher
        for name, task in experiment.tasks().items()
        for term in task.terms
        if term.teacher is not None
    }
    context = TeacherContext(
        placement.loads_on, student, experiment.temperature, experiment.batch.pass_size, experiment.seed,
        autocast_of(experiment), placement,
    )  # fmt: skip
    teachers = open_teachers(wanted, context, offload=experiment.offloads_teachers)
    for teacher in teachers.values():
        teacher.check(student)
    return teachers
