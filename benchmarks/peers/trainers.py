"""TRL's trainers: their unmodified loss, backward, clipping, optimiser and schedule, on our models and batch.

As for opdkit, the precision is the shape's and gradient checkpointing is off (TRL defaults to bfloat16 and
checkpointing); reverse KL at temperature 1. For an update phase the batch is given; for a whole step they generate
with `transformers`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from benchmarks.meter import Effort, Meter
from benchmarks.models import batch_of, student_and_teacher
from benchmarks.peers.words import word_tokenizer
from benchmarks.shapes import UpdateShape


@dataclass(frozen=True)
class _Setting:
    """The inputs of a trainer. `folder` is temporary."""

    shape: UpdateShape
    folder: str
    student: Any
    teacher: Any
    tokenizer: Any
    meter: Meter

    def arguments(self, **more: Any) -> dict[str, Any]:
        """Arguments of a trainer's configuration."""
        return {
            "output_dir": self.folder,
            "per_device_train_batch_size": self.shape.batch,
            "gradient_accumulation_steps": 1,
            "max_steps": self.meter.effort.most,
            "learning_rate": 1e-5,
            "beta": 1.0,
            "temperature": 1.0,
            "bf16": self.shape.precision == "bfloat16",
            "gradient_checkpointing": False,
            "save_strategy": "no",
            "logging_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
            **more,
        }

    def parts(self, column: str, value: Any) -> dict[str, Any]:
        """Arguments of a trainer's constructor; each row of its dataset has `value`."""
        from datasets import Dataset

        rows = self.shape.batch * (self.meter.effort.most + 1)
        return {
            "model": self.student,
            "teacher_model": self.teacher,
            "processing_class": self.tokenizer,
            "train_dataset": Dataset.from_dict({column: [value] * rows}),
            "callbacks": [_Clock(self.meter)],
        }


class _Clock(TrainerCallback):
    """Measures a step from the ready batch until its gradients are dropped."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._meter.begin()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._meter.end()
        control.should_training_stop = self._meter.done


def distillation_update(shape: UpdateShape, effort: Effort) -> Meter:
    """Updates of `DistillationTrainer` whose generation returns a given batch."""

    def build(setting: _Setting) -> Any:
        trainer = _distillation(setting)
        batch = batch_of(shape)
        trainer._generate_and_score_completions = lambda _: {
            "prompt_ids": batch.prompt,
            "prompt_mask": torch.ones_like(batch.prompt),
            "completion_ids": batch.response,
            "completion_mask": torch.ones_like(batch.response),
            "num_items_in_batch": torch.tensor(batch.response.numel(), device=batch.response.device),
        }
        return trainer

    return _run(shape, effort, build)


def distillation_step(shape: UpdateShape, effort: Effort) -> Meter:
    """Whole steps of `DistillationTrainer`."""
    return _run(shape, effort, _distillation, generates=True)


def _distillation(setting: _Setting) -> Any:
    from trl import DistillationConfig, DistillationTrainer  # pyright: ignore[reportMissingImports]

    words = " ".join(str(index) for index in batch_of(setting.shape).prompt[0].tolist())
    settings = DistillationConfig(**setting.arguments(max_completion_length=setting.shape.response))
    return DistillationTrainer(args=settings, **setting.parts("prompt", words))


def gkd_update(shape: UpdateShape, effort: Effort) -> Meter:
    """Updates of `GKDTrainer` on a given batch, through its off-policy path."""
    return _run(shape, effort, lambda setting: _gkd(setting, share=0.0))


def gkd_step(shape: UpdateShape, effort: Effort) -> Meter:
    """Whole steps of `GKDTrainer`. Its loss is divided by the data's label count, so the data has responses of the
    length that is generated."""
    return _run(shape, effort, lambda setting: _gkd(setting, share=1.0), generates=True)


def _gkd(setting: _Setting, share: float) -> Any:
    from trl.experimental.gkd import GKDConfig, GKDTrainer  # pyright: ignore[reportMissingImports]

    shape = setting.shape
    settings = GKDConfig(
        **setting.arguments(lmbda=share, max_new_tokens=shape.response, max_length=shape.prompt + shape.response)
    )
    return GKDTrainer(args=settings, data_collator=_collator(shape), **setting.parts("input_ids", [0]))


def gold_update(shape: UpdateShape, effort: Effort) -> Meter:
    """Updates of `GOLDTrainer` (one tokenizer for both models) on a given batch."""

    def build(setting: _Setting) -> Any:
        from trl.experimental.gold import GOLDConfig, GOLDTrainer  # pyright: ignore[reportMissingImports]

        settings = GOLDConfig(
            **setting.arguments(
                lmbda=0.0,
                max_completion_length=shape.response,
                max_length=shape.prompt + shape.response,
                dataset_kwargs={"skip_prepare_dataset": True},
            )
        )
        return GOLDTrainer(args=settings, data_collator=_collator(shape), **setting.parts("input_ids", [0]))

    return _run(shape, effort, build)


def iw_opd_update(shape: UpdateShape, effort: Effort) -> Meter:
    """Updates of `IWOPDTrainer` on a given batch, its divergence over the whole vocabulary."""
    return _run(shape, effort, lambda setting: _iw_opd(setting, top_k=0))


def iw_opd_topk_update(shape: UpdateShape, effort: Effort) -> Meter:
    """Updates of `IWOPDTrainer` on a given batch, its divergence over the student's top K and a tail bucket."""
    return _run(shape, effort, lambda setting: _iw_opd(setting, top_k=shape.k))


def _iw_opd(setting: _Setting, top_k: int) -> Any:
    from trl.experimental.iw_opd import IWOPDConfig, IWOPDTrainer  # pyright: ignore[reportMissingImports]

    shape = setting.shape
    settings = IWOPDConfig(
        **setting.arguments(
            distillation_objective="jsd",
            lmbda=0.0,
            loss_top_k=top_k,
            loss_add_tail=True,
            max_completion_length=shape.response,
            max_length=shape.prompt + shape.response,
        )
    )
    # It loads the teacher's tokenizer from the path in the teacher's configuration.
    setting.tokenizer.save_pretrained(setting.folder)
    setting.teacher.config._name_or_path = setting.folder
    return IWOPDTrainer(args=settings, data_collator=_collator(shape), **setting.parts("input_ids", [0]))


def _collator(shape: UpdateShape) -> Callable[[list[Any]], dict[str, Tensor]]:
    batch = batch_of(shape)
    ids = torch.cat([batch.prompt, batch.response], 1)
    labels = ids.clone()
    labels[:, : shape.prompt] = -100

    def collate(rows: list[Any]) -> dict[str, Tensor]:
        assert len(rows) == shape.batch
        return {
            "input_ids": ids.clone(),
            "attention_mask": torch.ones_like(ids),
            "labels": labels.clone(),
            "prompts": batch.prompt.clone(),
            "prompt_attention_mask": torch.ones_like(batch.prompt),
        }

    return collate


def _run(shape: UpdateShape, effort: Effort, build: Callable[[_Setting], Any], generates: bool = False) -> Meter:
    student, teacher = student_and_teacher(shape, use_cache=generates)
    meter = Meter(student.parameters, effort)
    with tempfile.TemporaryDirectory() as folder:
        trainer = build(_Setting(shape, folder, student, teacher, word_tokenizer(shape.vocabulary), meter))
        plain = trainer.compute_loss

        def compute_loss(*arguments: Any, **options: Any) -> Any:
            loss = plain(*arguments, **options)
            meter.losses.append(float(loss.detach()))
            return loss

        trainer.compute_loss = compute_loss
        trainer.train()
    return meter
