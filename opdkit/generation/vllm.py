"""Generation with vLLM: servers at given addresses, or one that the run starts on this machine."""

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
    """The settings of generation with vLLM. Requests carry token ids both ways; nothing is tokenised again.

    Attributes:
        max_new_tokens: the longest response, in tokens.
        max_prompt_tokens: a longer prompt is dropped and counted.
        batch_size: rows at once of what is written in this process all the same: benchmarks.
        servers: their addresses, each with the student's architecture and VLLM_SERVER_DEV_MODE=1. None to start one on
            this machine, which ends with the run.
        python: the interpreter with vLLM that starts it; None for the one that opdkit runs in.
        options: more command line options for it, as in `vllm serve`.
        weights_folder: where the student's weights are written after each step, for the servers to read. None for one
            in this machine's shared memory, which servers on other machines don't see.
        adapters: how low-rank adapters are handed over: merged into all weights of a copy of the base, or alone, for
            servers that hold the base.
        gap_limit: the mean distance in nats between the log-probs of a server and the student's on a few tokens, after
            the weights were handed over, above which the run ends.
        engine_correction: none, token_tis or sequence_mask, see `EngineCorrection`. It needs temperature=1.
        engine_cap: of the correction.
        token_variable: the environment variable that holds the servers' `--api-key`, where they have one.
        concurrency: requests at a time, for each server. A request is one response.
        timeout: seconds for one request.
        patience: seconds for which a request that fails is tried again, on any of the servers.
        backoff: seconds; the wait before retry n is drawn from 0 to `backoff * 2**n`, at most a minute.
        cache_gib: see `HFRollout`, of what is written in this process all the same.
        sleep: whether a server that is started here gives its GPU memory back while the student updates.
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
        """See `EngineSpec`. Raises UserError where no server answers or can be started."""
        if self.servers is None and os.environ.get("LOCAL_WORLD_SIZE") != os.environ.get("WORLD_SIZE"):
            raise UserError(
                "rollout.servers: processes on other machines can't reach a server of this one; give addresses, "
                "and with them rollout.weights_folder on a file system that they share"
            )
        from opdkit.generation.vllm_engine import open_engine  # brings the client, which is an extra

        settings = VLLMSettings(
            self.contact(self.servers or ()), self.python, [*map(str, self.options)], self.weights_folder,
            self.gap_limit, self.max_prompt_tokens + self.max_new_tokens, self.adapters, self.sleep,
        )  # fmt: skip
        return open_engine(settings, model)

    def contact(self, servers: Sequence[str]) -> Contact:
        """How the servers are reached."""
        return Contact(
            "rollout", tuple(servers), self.token_variable, self.concurrency, self.timeout, self.patience,
            self.backoff, _START if self.adapters == "merged" else _START_ALONE,
        )  # fmt: skip
