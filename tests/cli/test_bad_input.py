"""Bad input through the real command line: exit 2, one line that names the key and what is allowed, nothing made.

Each row: what is typed, and what the line must say (regular expressions, all of them).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Opdkit

ROOT = Path(__file__).resolve().parents[2]

TYPED: list[tuple[str, list[str]]] = [
    # commands and flags
    ("trian", ["trian: no such command; allowed: .*report, serve, show, study, sweep, train", r"did you mean train\?"]),
    ("--objective=topk", ["--objective=topk: no such command"]),
    ("train --mutlirun", ["--mutlirun: no such flag", r"did you mean --multirun\?"]),
    ("train --cfg everything", ["--cfg", "everything", "job"]),
    ("train --cfg job --info config", ["--info: cannot be combined with --cfg"]),
    ("train --config-dir nowhere", ["--config-dir nowhere: no such folder"]),
    ("ls objectives", ["objectives: no such group", r"did you mean objective\?"]),
    ("ls objective sampler", ["unrecognized arguments: sampler", "usage: opdkit ls"]),
    ("check everything", ["unrecognized arguments: everything"]),
    ("serve prot=3", ["prot=3: no key named prot", r"did you mean port\?"]),
    ("serve teacher=remote", ["teacher: RemoteTeacher can't be served; allowed: .*teacher=local"]),
    ("serve teacher=none", ["teacher=none: no model to serve"]),
    ("serve host=0.0.0.0", ["host=0.0.0.0: others can reach it, and OPDKIT_TOKEN holds no token"]),
    ("train teacher=remote teacher.servers=[here]", ["teacher.servers: 'here' is no address; needed: http"]),
    # groups and options
    ("train objectve=topk", ["no key named objectve", r"did you mean objective\?"]),
    ("train objective=topkk", ["objective=topkk: no such option", "thinking_machines, topk,", r"did you mean topk\?"]),
    ("train objective=", ["objective=: no such option", "allowed: distillm_forward"]),
    ("train objective=null", ["objective=null: not an option of objective", "sampled"]),
    ("train objective=3", ["objective=3: not an option of objective"]),
    ("train +objective=topk", [r"\+objective=topk: objective is a group; write objective=topk"]),
    ("train ~objective", ["~objective: keys can't be deleted"]),
    ("train objective/x=topk", ["objective/x=topk: no such group"]),
    ("train experiment=papermath", ["experiment=papermath: no such option", r"did you mean paper_math\?"]),
    ("train sampler=topp", ["sampler=topp: no such option", r"did you mean top_p\?"]),
    ("train sampler=top_p sampler=greedy", ["sampler: given twice"]),
    ("eval objective=topk", ["no key named objective", "allowed: .*benchmark.*model"]),
    # keys
    ("train kk=3", ["kk=3: no key named kk", r"did you mean k\?"]),
    ("train +kk=3", [r"\+kk=3: no key named kk", r"did you mean k\?"]),
    ("train ++kk=3", ["no key named kk"]),
    ("train step=3", ["step=3: no key named step", r"did you mean steps\?"]),
    ("train objective.kk=3", ["objective.kk=3: no key named kk in objective", r"did you mean k\?"]),
    ("train method=rlsd method.terms.student.wieght=2", ["allowed: .*every.*weight", r"did you mean weight\?"]),
    ("train method=rlsd method.terms.student.weight=2", [r"not set weight yet; write \+method\.terms\.student\.w"]),
    ("train +objective.kk=3", ["objective.kk: no such key in TokenDivergence", r"did you mean k\?"]),
    ("train batch.promts=3", ["no key named promts in batch", r"did you mean prompts\?"]),
    ("train optim.lr.peak=3", ["optim.lr holds a single value"]),
    ("train steps.x=3", ["steps"]),
    ("train steps", ["steps: not an override; write key=value"]),
    ("train k=[1", [r"k=\[1: the value cannot be parsed"]),
    ("train model.path=a=b(", ["model.path=a=b", "cannot be parsed"]),
    # types
    ("train steps=abc", ["steps=abc: the value must be a whole number"]),
    ("train steps=2.5", ["steps=2.5: the value must be a whole number"]),
    ("train steps=null", ["steps=null: the value must be a whole number"]),
    ("train steps=[1,2]", [r"steps=\[1,2\]"]),
    ("train k=many", ["k=many: the value must be a whole number"]),
    ("train temperature=warm", ["temperature=warm: the value must be a number"]),
    ("train resume=perhaps", ["resume=perhaps: no such choice; allowed: auto, false, true"]),
    ("train batch=4", ["batch=4"]),
    ("train method=gkd student_share=1.5", ["share=1.5 must be between 0 and 1"]),
    ("train student_share=0.5", ["method=opd has no student_share; allowed with method=gkd"]),
    ("train teacher=null", ["method.terms.student: its objective needs one, and teacher=null"]),
    ("train reward=judge", ["text: no text model is chosen; allowed: text=openai"]),
    ("train objective.k=many", ["objective.k=many: must be a whole number"]),
    ("train optim.lr=fast", ["optim.lr=fast: must be a number"]),
    ("train optim.betas=[0.9]", [r"optim.betas=\[0.9\]: must be a list of 2"]),
    ("train optim.schedule=cosin", ["must be one of constant, cosine, linear", "did you mean cosine"]),
    ("train model.gradient_checkpointing=3", ["model.gradient_checkpointing=3: must be true or false"]),
    ("train optim._target_=nowhere.AdamW", ["optim._target_: cannot import nowhere"]),
    ("train optim._target_=opdkit.training.optimizer.Adam", ["has no Adam", "did you mean AdamW"]),
    ("train optim._target_=3", ["optim._target_: 3 is not a dotted path"]),
    # ranges
    ("train k=1", ["objective", "k", "2"]),
    ("train k=0", ["objective", "k", "2"]),
    ("train steps=0", ["steps=0: must be at least 1"]),
    ("train steps=-1", ["steps=-1: must be at least 1"]),
    ("train seed=-1", ["seed=-1: must be between 0 and 4294967295"]),
    ("train temperature=0", ["temperature=0.0: must be a finite number above 0"]),
    ("train temperature=nan", ["temperature=nan: must be a finite number above 0"]),
    ("train batch.epochs=0", ["batch.epochs=0: must be at least 1"]),
    ("train checkpoint_every=-1", ["checkpoint_every=-1: must be at least 0"]),
    ("train keep_checkpoints=0", ["keep_checkpoints=0: must be at least 1"]),
    ("train precision=float23", ["precision=float23: no such precision", "allowed: bfloat16, float32"]),
    ("train gradient_variance=(", ["gradient_variance"]),
    ("train optim.lr=0", ["optim.lr"]),
    ("train rollout.max_new_tokens=0", ["rollout.max_new_tokens"]),
    ("train sampler=top_p sampler.p=0", ["sampler", "p"]),
    ("train sampler=top_p sampler.p=1.5", ["sampler", "1.5"]),
    ("train logger.wandb.mode=ofline", ["logger.wandb.mode=ofline", "did you mean offline"]),
    # tasks and benchmarks
    ("train task.dataset=chain_sums", ["task.dataset=.chain_sums.", r"did you mean chain_sum\?"]),
    ("train task.split=dev", ["task.split=dev: must be one of train, test"]),
    ("train +task.parameters.min_term=2", [r"task.parameters.min_term: .*did you mean min_terms\?"]),
    ("train task.parameters.min_terms=9", ["task.parameters={", "max_terms must be >= min_terms"]),
    ("train task.template=Solve", ["task.template='Solve' has no field", "{expression}"]),
    ("train task=gsm8k task.limit=0", ["task.limit=0; allowed: 1 or more"]),
    ("train task=gsm8k task.columns.answer=null", ["task.columns.answer names no column"]),
    ("eval benchmark.source.dataset=chain_sums", ["benchmark.source.dataset=", r"did you mean chain_sum\?"]),
    ("eval benchmark=gsm8k benchmark.source.limit=0", ["benchmark.source.limit=0"]),
    ("eval benchmark=mth500", ["benchmark=mth500: no such option", r"did you mean math500\?"]),
    ("eval protocol=papr", ["protocol=papr: no such option", "allowed: greedy, paper,", "did you mean paper"]),
    ("eval benchmark=reasoning_gym", ["benchmark.source.dataset: no value; give benchmark.source.dataset="]),
    ("train task=reasoning_gym", ["task.dataset: no value; give task.dataset="]),
    ("train task=reasoning_gym task.dataset=countdwn", ["task.dataset='countdwn' is not", r"did you mean countdown\?"]),
    ("train task=reasoning_gym task.dataset=lcm task.parameters.min_value=2", [r"write \+task.parameters.min_value=2"]),
    ("train task=reasoning_gym task.dataset=lcm +task.parameters.min_numbrs=2", [r"min_numbrs: .*did you mean min_n"]),
    ("train task=reasoning_gym task.dataset=composite", ["task.parameters={} are not taken by composite: Must"]),
    ("train task=reasoning_gym task.dataset=rush_hour task.scorer=answers", ["task.scorer='answers': rush_hour gives"]),
    ("eval n_samples=4 benchmark.pass_at=[8]", ["benchmark.pass_at=8 with n_samples=4; allowed: 1 to n_samples"]),
    ("eval benchmark.source.template=Hello", ["benchmark.source.template='Hello' has no field"]),
    ("eval benchmark=aime25 benchmark.source.template='{problm}'", [r"benchmark.source.template asks for \{problm\}"]),
    ("eval benchmark=gsm8k benchmark.path=empty", ["benchmark.path=empty: files of kind"]),
    ("eval benchmark=gsm8k benchmark.path=nowhere.csv", ["benchmark.path=nowhere.csv: no such file"]),
    ("eval benchmark.path=x.jsonl", ["benchmark does not set path yet", r"write \+benchmark.path=x.jsonl"]),
    ("eval benchmark.name=a/b", ["benchmark.name='a/b'"]),
    # choices that do not go together
    ("train objective=sampled k=32", ["k=32: objective=sampled has no k; allowed with .*objective=topk"]),
    ("train objective.k=8 k=9", ["k=9 and objective.k=8 disagree", "keep one"]),
    ("train k=8 k=9", ["k: given twice"]),
    ("train batch.mini_batch=48", ["batch.mini_batch=48: must divide the step's 64 rollouts"]),
    ("train batch.micro_batch=0", ["batch.micro_batch=0: must be at least 1"]),
    ("train batch.micro_batch_tokens=0", ["batch.micro_batch_tokens=0: must be at least 1"]),
    ("train objective=sampled objective/surrogate=score batch.epochs=2", ["batch.epochs=2", "importance ratio"]),
    ("train resume=true", ["resume=true: which run", "run_dir"]),
    ("train run_dir=new resume=true", ["resume=true", "new"]),
    ("train steps=1,2", ["steps=1,2: several values", "opdkit sweep"]),
    # sweeps: no job starts where one of them is wrong
    ("sweep k=8,1", ["objective", "k", "2"]),
    ("sweep objective=topk,topkk", ["objective=topkk: no such option"]),
    ("sweep objective=topk,sampled k=8", ["k=8: objective=sampled has no k"]),
    ("sweep steps=1,abc", ["steps=abc: the value must be a whole number"]),
    ("train -m batch.mini_batch=64,48", ["batch.mini_batch=48: must divide"]),
    # models and files
    ("train model=local", ["model.path: no value; give model.path="]),
    ("train model.path=nowhere/model", ["model.path", "nowhere/model"]),
    ("train teacher.path=./nowhere", ["teacher.path", "nowhere"]),
    ("train model.path=empty", ["model.path", "empty"]),
    ("train model.path=notes.txt", ["model.path", "notes.txt"]),
    ("train run_dir=notes.txt", ["run_dir=notes.txt", "is a file"]),
    ("train run_dir=notes.txt/run", ["run_dir=notes.txt/run", "notes.txt is a file"]),
    ("train run_dir=", ["run_dir"]),
    ("eval model.path=nowhere/model", ["model.path", "nowhere/model"]),
    ("eval run_dir=notes.txt", ["run_dir=notes.txt", "is a file"]),
    ("eval batch_size=0", ["batch_size=0: must be at least 1"]),
    ("eval cache_gib=0", ["cache_gib=0.0: must be above 0"]),
]  # fmt: skip


def check_line(line: str, patterns: list[str]) -> None:
    import re

    assert line.startswith("opdkit: error: "), line
    assert line.count("\n") == 1, line
    assert "Traceback" not in line
    for pattern in patterns:
        assert re.search(pattern, line), f"{pattern!r} is not in {line!r}"


def surroundings(folder: Path) -> list[str]:
    """What is there before: a text file and an empty folder."""
    (folder / "notes.txt").write_text("a note\n")
    (folder / "empty").mkdir()
    return listing(folder)


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(("typed", "patterns"), TYPED, ids=[typed for typed, _ in TYPED])
def test_bad_input(typed: str, patterns: list[str], opdkit: Opdkit, tmp_path: Path) -> None:
    before = surroundings(tmp_path)
    told = opdkit(*typed.split(" "))
    assert told.status == 2, told
    check_line(told.err, patterns)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("typed", ["trian", "train kk=3", "train k=1"])
def test_in_a_process_of_its_own(typed: str, tmp_path: Path) -> None:
    """Nothing of Python's or Hydra's own shutdown adds a word."""
    done = subprocess.run(
        [sys.executable, "-m", "opdkit", *typed.split(" ")],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    check_line(done.stderr, [])
    assert done.stdout == ""
    assert listing(tmp_path) == []


def test_the_whole_story_on_request(opdkit: Opdkit, monkeypatch: pytest.MonkeyPatch) -> None:
    from opdkit.errors import UserError

    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(UserError, match="kk=3"):
        opdkit("train", "kk=3")
