"""Other projects' code, called as its users call it. Imported only where that project is installed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from opdkit.bench.cases import HeadShape, UpdateShape
from opdkit.bench.given import inputs, run_head
from opdkit.bench.meter import Meter
from opdkit.bench.shapes import batch_of, student_and_teacher


def chunked_head(shape: HeadShape, count: int) -> Meter:
    """TRL 1.16's head: reverse KL over the whole vocabulary, in tiles that are projected again in backward."""
    from trl.kernels.chunked_divergence import ChunkedDivergenceFunction  # pyright: ignore[reportMissingImports]

    given = inputs(shape)

    def loss() -> Tensor:
        divergence, _ = ChunkedDivergenceFunction.apply(
            given.student_hidden, given.student_weight, None, given.teacher_hidden, given.teacher_weight, None, 1.0
        )
        return divergence.mean()

    return run_head(given, loss, count)


def gkd_head(shape: HeadShape, count: int) -> Meter:
    """The loss of TRL's GKDTrainer on both models' full logits, which that trainer has."""
    from trl.experimental.gkd import GKDTrainer  # pyright: ignore[reportMissingImports]

    given = inputs(shape)

    def loss() -> Tensor:
        with torch.no_grad():
            teacher = given.teacher_hidden @ given.teacher_weight.T
        student = given.student_hidden @ given.student_weight.T
        return GKDTrainer.generalized_jsd_loss(student, teacher, beta=1.0)

    return run_head(given, loss, count)


def liger_head(shape: HeadShape, count: int) -> Meter:
    """Liger's fused linear JSD without torch.compile (its default chunk of 1024 positions), reverse KL only."""
    from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss  # pyright: ignore[reportMissingImports]

    given = inputs(shape)
    head = LigerFusedLinearJSDLoss(weight_hard_loss=0.0, weight_soft_loss=1.0, beta=1.0, compiled=False)
    labels = torch.zeros(shape.positions, dtype=torch.int64, device=given.student_hidden.device)

    def loss() -> Tensor:
        return head(given.student_hidden, given.student_weight, given.teacher_hidden, given.teacher_weight, labels)

    return run_head(given, loss, count)


def distillation_update(shape: UpdateShape, count: int) -> Meter:
    """Steps of TRL's `DistillationTrainer.train()` whose generation returns a given batch.

    Its loss, backward, clipping, optimiser and schedule run as they are. float32 and no gradient
    checkpointing, as for us; its other defaults stay.
    """
    import tempfile

    from transformers import TrainerCallback
    from trl import DistillationConfig  # pyright: ignore[reportMissingImports]

    student, teacher = student_and_teacher(shape)
    meter = Meter(student.parameters)

    class Clock(TrainerCallback):
        """Around a step: from its batch being at hand to its gradients being dropped."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            meter.begin()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            meter.end()

    with tempfile.TemporaryDirectory() as folder:
        settings = DistillationConfig(
            output_dir=folder,
            per_device_train_batch_size=shape.batch,
            gradient_accumulation_steps=1,
            max_steps=count,
            max_completion_length=shape.response,
            learning_rate=1e-5,
            beta=1.0,
            bf16=False,
            gradient_checkpointing=False,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        trainer = _with_given_batch(shape, meter)(
            model=student,
            teacher_model=teacher,
            args=settings,
            train_dataset=_prompts(shape.batch * (count + 1)),
            processing_class=_tokenizer(shape.vocabulary),
            callbacks=[Clock()],
        )
        trainer.train()
    return meter


def _with_given_batch(shape: UpdateShape, meter: Meter) -> type:
    from trl import DistillationTrainer  # pyright: ignore[reportMissingImports]

    class GivenBatch(DistillationTrainer):
        """The trainer with its generation left out."""

        def _generate_and_score_completions(self, inputs: Any) -> dict[str, Tensor]:
            batch = batch_of(shape)
            device = self.accelerator.device
            return {
                "prompt_ids": batch.prompt.to(device),
                "prompt_mask": torch.ones_like(batch.prompt, device=device),
                "completion_ids": batch.response.to(device),
                "completion_mask": torch.ones_like(batch.response, device=device),
                "num_items_in_batch": torch.tensor(batch.response.numel(), device=device),
            }

        def compute_loss(self, model: Any, inputs: Any, *arguments: Any, **options: Any) -> Any:
            loss = super().compute_loss(model, inputs, *arguments, **options)
            meter.losses.append(float(loss.detach()))
            return loss

    return GivenBatch


def _prompts(rows: int) -> Any:
    from datasets import Dataset

    return Dataset.from_dict({"prompt": ["0"] * rows})


def _tokenizer(vocabulary: int) -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = {str(index): index for index in range(vocabulary)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="0")),
        pad_token="0",
        eos_token="1",
        padding_side="left",
    )
