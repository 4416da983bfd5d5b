"""Opens the models of a run: where they lie, the student, and the teacher of each term."""

from __future__ import annotations

from dataclasses import replace

import torch

from opdkit.errors import UserError
from opdkit.models import LanguageModel, load
from opdkit.models.placement import Placement, Whole
from opdkit.runs.checkpoint import Found
from opdkit.seeding import derive_seed
from opdkit.teachers import OpenTeacher, Teacher, TeacherContext, open_teachers
from opdkit.training.experiment import Experiment
from opdkit.world.turns import Turns
from opdkit.world.world import World


def placement_of(experiment: Experiment, device: torch.device) -> Placement:
    """How the run's models lie in its processes."""
    if experiment.shard == "none":
        return Whole(device)
    from opdkit.models.sharded import FullyShard, require_torch  # torch's distributed tensors take a while to import

    require_torch()
    world = World.current()
    return FullyShard(world, device, Turns(world))


def open_student(experiment: Experiment, found: Found | None, device: torch.device) -> LanguageModel:
    """The model that is trained, from the checkpoint where a run goes on; with an adapter, its base stays."""
    spec, adapter = experiment.model, experiment.adapter
    if found and adapter is None and experiment.shard == "none":
        spec = replace(spec, path=str(found.folder), revision=None)
    model = load(spec, device, "model", trains=adapter is None)
    if adapter is not None:
        torch.manual_seed(derive_seed(experiment.seed, "adapter"))
        model = adapter.attach(model, spec, found.folder if found else None)
    _require_float32(model, spec.dtype)
    return replace(model, name=experiment.model.path, autocast=autocast_of(experiment))


def _require_float32(model: LanguageModel, dtype: str) -> None:
    """A step of a usual size is lost in the rounding of a weight of 16 bits."""
    if any(p.requires_grad and p.element_size() < 4 for p in model.module.parameters()):
        raise UserError(
            f"model.dtype={dtype}: weights of 16 bits lose most of an update to rounding; allowed: model.dtype=float32 "
            f"(precision=bfloat16 still computes in 16 bits), or adapter=lora, whose own weights have 32"
        )


def autocast_of(experiment: Experiment) -> torch.dtype | None:
    """What the run's models compute in, None for the dtype of their weights."""
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
