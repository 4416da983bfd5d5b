"""A teacher behind a stock vLLM server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opdkit.extras import need_package
from opdkit.servers.contact import Contact
from opdkit.teachers.base import Capabilities, OpenTeacher, TeacherContext

_START = "vllm serve MODEL --port 8000 --max-logprobs 64"


@dataclass(frozen=True, kw_only=True)
class VLLMTeacher:
    """A language model behind one or several vLLM servers, scored by their `prompt_logprobs`.

    They tell the log-prob of the sampled token and of the model's own best ids, at temperature 1 and over all the rows
    of its lm_head. At another temperature the best ids' logits are known up to a constant, which is enough where an
    objective renormalises inside them. The tokenizer is the student's, and the server's is held against it.

    Attributes:
        servers: their addresses. All serve the same model.
        model: the name it is served under, None for the only one there is.
        token_variable: the environment variable that holds the servers' `--api-key`, where they have one.
        concurrency: requests at a time, for each server. A request is one rollout.
        timeout: seconds for one request.
        patience: seconds for which a request that fails is tried again, on any of the servers.
        backoff: seconds; the wait before retry n is drawn from 0 to `backoff * 2**n`, at most a minute.
    """

    servers: Sequence[str]
    model: str | None = None
    token_variable: str | None = "VLLM_API_KEY"
    concurrency: int = 16
    timeout: float = 600.0
    patience: float = 300.0
    backoff: float = 0.5

    def __post_init__(self) -> None:
        need_package("httpx", "serve")
        self._contact().check()

    @property
    def path(self) -> str:
        """See `Teacher`."""
        return self.model or ", ".join(self.servers)

    @property
    def capabilities(self) -> Capabilities:
        """What `prompt_logprobs` holds."""
        return Capabilities(given_ids=False, vocabulary=False, text=False, temperature=1.0)

    def open(self, context: TeacherContext) -> OpenTeacher:
        """See `Teacher`. Raises UserError where no server answers, or serves what it should not."""
        from opdkit.teachers.prompt_scores import open_prompt_scores  # brings the client, which is an extra

        return open_prompt_scores(self._contact(), self.model, context)

    def _contact(self) -> Contact:
        return Contact(
            "teacher", tuple(self.servers), self.token_variable, self.concurrency, self.timeout, self.patience,
            self.backoff, _START,
        )  # fmt: skip
