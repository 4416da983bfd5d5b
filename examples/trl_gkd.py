"""Any objective of opdkit in TRL's GKDTrainer: TRL samples, batches and steps, opdkit gives the loss.

pip install trl
python examples/trl_gkd.py --objective topk --k 16 --steps 10
"""

from __future__ import annotations

import argparse
import random
import tempfile
from importlib.resources import files
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.experimental.gkd import GKDConfig, GKDTrainer

import opdkit

EMBEDDED = files("opdkit") / "models" / "embedded"


class OpdTrainer(GKDTrainer):
    """GKDTrainer with a loss of opdkit, set in `loss_of` before training."""

    loss_of: opdkit.LogitObjective

    def compute_loss(
        self, model: Any, inputs: dict[str, torch.Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The logits at position i predict token i + 1; labels are -100 where a token does not count."""
        given = {key: inputs[key] for key in ("input_ids", "attention_mask")}
        outputs = model(**given)
        with torch.no_grad():
            teacher = self.teacher_model(**given).logits[:, :-1]
        labels = inputs["labels"][:, 1:]
        loss = self.loss_of(
            outputs.logits[:, :-1], teacher, tokens=inputs["input_ids"][:, 1:], mask=labels != -100
        )  # fmt: skip
        return (loss, outputs) if return_outputs else loss


def main() -> list[float]:
    """Trains and returns the losses."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--objective", default="topk")
    parser.add_argument("--k", type=int, default=None)
    parser.add_argument("--steps", type=int, default=10)
    chosen = parser.parse_args()

    student = AutoModelForCausalLM.from_pretrained(str(EMBEDDED / "student"))
    teacher = AutoModelForCausalLM.from_pretrained(str(EMBEDDED / "teacher"))
    tokenizer = AutoTokenizer.from_pretrained(str(EMBEDDED / "student"), padding_side="left")
    with tempfile.TemporaryDirectory() as folder:
        settings = GKDConfig(
            output_dir=folder, max_steps=chosen.steps, per_device_train_batch_size=16, learning_rate=5e-4,
            lmbda=1.0, temperature=1.0, max_new_tokens=96, max_length=192, logging_steps=1, report_to=[],
            use_cpu=not torch.cuda.is_available(), bf16=False, save_strategy="no",
        )  # fmt: skip
        trainer = OpdTrainer(
            student,
            teacher,
            args=settings,
            processing_class=tokenizer,
            train_dataset=Dataset.from_list(conversations()),
        )
        trainer.loss_of = opdkit.load_objective(chosen.objective, **({} if chosen.k is None else {"k": chosen.k}))
        trainer.train()
    return [line["loss"] for line in trainer.state.log_history if "loss" in line]


def conversations(count: int = 256) -> list[dict[str, Any]]:
    """Sums as the embedded pair knows them. The answers are written anew by the student."""
    random.seed(0)
    found = list[dict[str, Any]]()
    for _ in range(count):
        terms = [str(random.randint(1, 9)) for _ in range(random.randint(4, 7))]
        question = f"Work out {' + '.join(terms)} step by step."
        found.append({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": "?"}]})
    return found


if __name__ == "__main__":
    print(main())
