"""On-policy distillation in a loop of one's own: opdkit gives the loss, transformers and torch do the rest.

    python examples/plain_loop.py --objective topk --k 16 --steps 20

The models are the embedded pair unless --student and --teacher name others with one tokenizer.
"""

from __future__ import annotations

import argparse
import random
from importlib.resources import files
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import opdkit

EMBEDDED = files("opdkit") / "models" / "embedded"


def main() -> list[float]:
    """Trains and returns the losses."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--student", default=str(EMBEDDED / "student"))
    parser.add_argument("--teacher", default=str(EMBEDDED / "teacher"))
    parser.add_argument("--objective", default="topk")
    parser.add_argument("--k", type=int, default=None)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--prompts", type=int, default=16)
    chosen = parser.parse_args()

    tokenizer: Any = AutoTokenizer.from_pretrained(chosen.student, padding_side="left")
    student = AutoModelForCausalLM.from_pretrained(chosen.student)
    teacher = AutoModelForCausalLM.from_pretrained(chosen.teacher).eval()
    loss_of = opdkit.load_objective(chosen.objective, **({} if chosen.k is None else {"k": chosen.k}))
    optimizer = torch.optim.AdamW(student.parameters(), lr=5e-4)
    losses = list[float]()
    for step in range(1, chosen.steps + 1):
        asked = tokenizer.apply_chat_template(
            [[{"role": "user", "content": question()}] for _ in range(chosen.prompts)],
            add_generation_prompt=True, return_tensors="pt", padding=True, return_dict=True,
        )  # fmt: skip
        start = asked["input_ids"].shape[1]
        ids = student.generate(**asked, do_sample=True, top_k=0, max_new_tokens=96)  # [B, start + T]
        tokens = ids[:, start:]  # i64[B, T]
        ended = (tokens == tokenizer.eos_token_id).cumsum(1)
        mask = (ended == 0) | ((ended == 1) & (tokens == tokenizer.eos_token_id))  # bool[B, T]: up to the end token
        attention = torch.cat([asked["attention_mask"], mask.long()], 1)
        inputs = {"input_ids": ids, "attention_mask": attention, "logits_to_keep": tokens.shape[1] + 1}
        # The logits at a position predict the next token: those of the T tokens begin one before the first.
        student_logits = student(**inputs).logits[:, :-1]  # f32[B, T, V]
        with torch.no_grad():
            teacher_logits = teacher(**inputs).logits[:, :-1]
        loss = loss_of(student_logits, teacher_logits, tokens=tokens, mask=mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        print(f"step {step}: loss {losses[-1]:.4f}, {mask.sum(1).float().mean():.1f} tokens a response")
    return losses


def question() -> str:
    """A sum as the embedded pair knows them."""
    terms = [str(random.randint(1, 9)) for _ in range(random.randint(4, 7))]
    return f"Work out {' + '.join(terms)} step by step."


if __name__ == "__main__":
    random.seed(0)
    torch.manual_seed(0)
    main()
