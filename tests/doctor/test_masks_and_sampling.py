"""What rules leave out of given rollouts, and both models' view of the sampler, against whole softmaxes."""

from __future__ import annotations

import pytest
import torch

from opdkit.data.micro_batches import MicroBatch
from opdkit.data.rollout import Prompts, Rollout
from opdkit.doctor.masks import masks
from opdkit.doctor.sampling import Setting, means, sampling
from opdkit.generation import HFRollout
from opdkit.masking import FirstOccurrence, NoMask, Vocabularies
from opdkit.samplers import Ancestral, TopP
from opdkit.teachers import OpenLocalTeacher
from tests.doctor.tokenizers import WHOLE_WORD, bpe, told
from tests.tiny import rendered, tiny_model, tiny_problems
from tests.tiny import written as answers


def test_masks_count_what_is_left_out() -> None:
    tokenizer = bpe(WHOLE_WORD)
    ids = torch.tensor([tokenizer.encode("<think> < 1", add_special_tokens=False)])
    mask = torch.ones_like(ids, dtype=torch.bool)
    zeros = torch.zeros(ids.shape)
    rollout = Rollout(Prompts(ids[:, :1], mask[:, :1], ()), ids, mask, zeros, zeros, ("stop",))
    rules = {"none": NoMask(), "first": FirstOccurrence(["<", "think"])}
    section = masks(rollout, Vocabularies(tokenizer, tokenizer), rules, "first")
    assert section.grids[0].rows == (("none", "0.0 %", ""), ("first (chosen)", "28.6 %", "'<' x 1, 'think' x 1"))
    assert told(section) == [("ok", "the run's masking leaves out 28.6 % of 7 sampled tokens")]
    nothing = masks(
        rollout, Vocabularies(tokenizer, tokenizer), {"all": lambda rollout, _: ~rollout.sampled_mask}, "all"
    )
    assert told(nothing)[0][0] == "warning"


def scoring(model: object) -> OpenLocalTeacher:
    return OpenLocalTeacher(model, 0.7, MicroBatch(8))  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def written() -> tuple[object, object, Rollout]:
    student, teacher = tiny_model(0), tiny_model(1)
    prompts = rendered(student, tiny_problems(3))
    return student, teacher, answers(HFRollout(9, 64), student, prompts, Ancestral(), 0.7, [1, 2, 3])


@pytest.mark.parametrize("sampler", [TopP(0.5), Ancestral()])
def test_means_are_those_of_whole_softmaxes(written: tuple[object, object, Rollout], sampler: object) -> None:
    student, teacher, rollout = written
    found = means(scoring(student), scoring(teacher), rollout, Setting(sampler, 0.7, 4))  # pyright: ignore[reportArgumentType]
    wanted: dict[str, list[torch.Tensor]] = {}
    for row in range(3):
        prompt = rollout.prompts.ids[row][rollout.prompts.attention_mask[row]]
        tokens = rollout.tokens[row][rollout.sampled_mask[row]]
        ids = torch.cat([prompt, tokens])[None]
        logits = []
        for model in (student, teacher):
            with torch.no_grad():
                whole = model.module(ids).logits[0, len(prompt) - 1 : -1, : model.vocabulary]  # pyright: ignore
            logits.append(whole.float() / 0.7)
        kept = sampler(logits[0])  # pyright: ignore[reportCallIssue]
        best = logits[1].topk(4, dim=-1).indices
        for who, values in zip(("student", "teacher"), logits, strict=True):
            p = values.softmax(-1)
            own = sampler(values)  # pyright: ignore[reportCallIssue]
            for name, value in {
                "entropy": -(p * p.log()).sum(-1),
                "likeliest": p.amax(-1),
                "kept": own.sum(-1).float(),
                "kept_mass": (p * kept).sum(-1),
                "drawn_kept": own[torch.arange(len(tokens)), tokens].float(),
                "support_mass": p.gather(1, best).sum(-1),
            }.items():
                wanted.setdefault(f"{who}_{name}", []).append(value)
    assert found.pop("positions") == int(rollout.sampled_mask.sum())
    assert found == pytest.approx({name: float(torch.cat(v).mean()) for name, v in wanted.items()}, abs=1e-4)


def test_a_far_teacher_and_a_small_support_are_warnings(written: tuple[object, object, Rollout]) -> None:
    student, teacher, rollout = written
    section = sampling(scoring(student), scoring(teacher), rollout, Setting(TopP(0.1), 0.7, 2))  # pyright: ignore[reportArgumentType]
    assert [note.level for note in section.notes] == ["warning", "warning"]
    assert section.notes[1].advice == "a larger k="
    same = sampling(scoring(student), scoring(student), rollout, Setting(Ancestral(), 0.7, 260))  # pyright: ignore[reportArgumentType]
    assert [note.level for note in same.notes] == ["ok"]
