"""Generation with vLLM: servers at given addresses, or one started by the run on this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import get_args

from opdkit.errors import UserError
from opdkit.extras import need_package
from opdkit.generation.base import Engine
from opdkit.generation.correction import EngineCorrection, Mode
from opdkit.generation.hf import HFRollout
from opdkit.generation.vllm_settings import Adapters, VLLMSettings
from opdkit.models import LanguageModel
from opdkit.servers.contact import Contact

_START = "VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --port 8000"
_START_ALONE = (
    "VLLM_SERVER_DEV_MODE=1 VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 vllm serve BASE --port 8000 --enable-lora "
    "--max-lora-rank 32"
)


@dataclass(frozen=True)
class VLLMRollout:
    """Settings of generation with vLLM. Requests and responses are token ids; nothing is re-tokenised.

    Attributes:
        max_new_tokens: the maximum length of a response, in tokens.
        max_prompt_tokens: longer prompts are skipped and counted.
        batch_size: rows decoded at once by the in-process engine, which is used for benchmarks.
        servers: their addresses, each with the student's architecture and VLLM_SERVER_DEV_MODE=1. None to start one on
            this machine for the duration of the run.
        python: the Python interpreter with vLLM to start it with; None for the one running opdkit.
        options: additional command-line options of `vllm serve`.
        weights_folder: where the student's weights are written after each step, for the servers to load. None for one
            in shared memory, which servers on other machines can't access.
        adapters: how low-rank adapters are sent: merged into a copy of the base, or alone, for servers that keep the
            base.
        gap_limit: maximum mean difference in nats between the log-probs of a server and the student's on a few tokens
            after a weight update, above which the run ends.
        engine_correction: none, token_tis or sequence_mask, see `EngineCorrection`. Requires temperature=1.
        engine_cap: the correction's cap.
        token_variable: the environment variable with the servers' `--api-key`, if they have one.
        concurrency: concurrent requests per server. A request is one response.
        timeout: time limit of a request in seconds.
        patience: time in seconds during which a failed request is retried, on any of the servers.
        backoff: in seconds; the wait before retry n is uniform between 0 and `backoff * 2**n`, at most a minute.
        cache_gib: see `HFRollout`; for the in-process engine.
        sleep: whether a server started by the run releases its GPU memory during updates.
    """

    max_new_tokens: int = 128
    max_prompt_tokens: int = 256
    batch_size: int = 64
    servers: Sequence[str] | None = None
    python: str | None = None
    options: Sequence[str | int | float] = ()
    weights_folder: str | None = None
    adapters: Adapters = "merged"
    gap_limit: float = 0.1
    engine_correction: Mode = "none"
    engine_cap: float = 2.0
    token_variable: str | None = "VLLM_API_KEY"
    concurrency: int = 64
    timeout: float = 600.0
    patience: float = 300.0
    backoff: float = 0.5
    cache_gib: float | None = field(default=None, kw_only=True)
    sleep: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        need_package("httpx", "serve")
        self.in_process()
        if self.adapters not in get_args(Adapters):
            raise UserError(f"rollout.adapters={self.adapters}: must be one of {', '.join(get_args(Adapters))}")
        if not self.gap_limit > 0:
            raise UserError(f"rollout.gap_limit={self.gap_limit} must be above 0")
        try:
            _ = self.correction
            self.contact(self.servers if self.servers is not None else ("http://127.0.0.1:1",)).check()
        except UserError as error:
            raise UserError(f"rollout.{error}") from None
        if self.servers is not None and (self.python is not None or self.options):
            raise UserError("rollout.servers are given, so none is started: rollout.python and .options have no effect")
        if self.sleep and self.servers is not None:
            raise UserError("rollout.sleep=true: others may ask rollout.servers; allowed: rollout.servers=null")
        if self.sleep and self.adapters == "alone":
            raise UserError(
                "rollout.sleep=true: a server that sleeps forgets the base of rollout.adapters=alone; allowed: "
                "rollout.adapters=merged"
            )

    @property
    def correction(self) -> EngineCorrection:
        """See `EngineSpec`."""
        return EngineCorrection(self.engine_correction, self.engine_cap)

    def in_process(self) -> HFRollout:
        """See `EngineSpec`."""
        return HFRollout(self.max_new_tokens, self.max_prompt_tokens, self.batch_size, cache_gib=self.cache_gib)

    def open(self, model: LanguageModel) -> Engine:
        """See `EngineSpec`. Raises UserError if no server answers or can be started."""
        if self.servers is None and os.environ.get("LOCAL_WORLD_SIZE") != os.environ.get("WORLD_SIZE"):
            raise UserError(
                "rollout.servers: processes on other machines can't reach a server of this one; give addresses, "
                "and with them rollout.weights_folder on a file system that they share"
            )
        from opdkit.generation.vllm_engine import open_engine  # imports the client, an optional dependency

        settings = VLLMSettings(
            self.contact(self.servers or ()), self.python, [*map(str, self.options)], self.weights_folder,
            self.gap_limit, self.max_prompt_tokens + self.max_new_tokens, self.adapters, self.sleep,
        )  # fmt: skip
        return open_engine(settings, model)

    def contact(self, servers: Sequence[str]) -> Contact:
        """The connection settings of the servers."""
        return Contact(
            "rollout", tuple(servers), self.token_variable, self.concurrency, self.timeout, self.patience,
            self.backoff, _START if self.adapters == "merged" else _START_ALONE,
        )  # fmt: skip
