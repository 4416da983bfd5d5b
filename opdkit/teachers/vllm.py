"""A teacher behind a stock vLLM server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from opdkit.teachers.base import Capabilities, OpenTeacher, TeacherContext
from opdkit.teachers.behind_servers import TeacherBehindServers


@dataclass(frozen=True, kw_only=True)
class VLLMTeacher(TeacherBehindServers):
    """A language model behind one or more vLLM servers, scored by their `prompt_logprobs`.

    They return log-probs of the sampled token and of the model's own top ids, at temperature 1 and over all rows of its
    lm_head. At another temperature the top ids' logits are known only up to a constant, which suffices for objectives
    that renormalise over them. The tokenizer is the student's; the server's is compared with it.

    Attributes:
        model: the served model name, None if there is only one.
        token_variable: the environment variable with the servers' `--api-key`, if they have one.
        concurrency: concurrent requests per server. A request is one rollout.
    """

    token_variable: str | None = "VLLM_API_KEY"
    concurrency: int = 16

    START: ClassVar[str] = "vllm serve MODEL --port 8000 --max-logprobs 64"

    @property
    def capabilities(self) -> Capabilities:
        """The contents of `prompt_logprobs`."""
        return Capabilities(given_ids=False, vocabulary=False, text=False, temperature=1.0)

    def open(self, context: TeacherContext) -> OpenTeacher:
        """See `Teacher`. Raises UserError if no server answers, or one serves another model."""
        from opdkit.teachers.prompt_scores import open_prompt_scores  # imports the client, an optional dependency

        return open_prompt_scores(self.contact(), self.model, context)
