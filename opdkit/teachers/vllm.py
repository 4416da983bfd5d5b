"""A teacher behind a stock vLLM server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from opdkit.teachers.base import Capabilities, OpenTeacher, TeacherContext
from opdkit.teachers.behind_servers import TeacherBehindServers


@dataclass(frozen=True, kw_only=True)
class VLLMTeacher(TeacherBehindServers):
    """A language model behind one or several vLLM servers, scored by their `prompt_logprobs`.

    They tell the log-prob of the sampled token and of the model's own best ids, at temperature 1 and over all the rows
    of its lm_head. At another temperature the best ids' logits are known up to a constant, which is enough where an
    objective renormalises inside them. The tokenizer is the student's, and the server's is held against it.

    Attributes:
        model: the name it is served under, None for the only one there is.
        token_variable: the environment variable that holds the servers' `--api-key`, where they have one.
        concurrency: requests at a time, for each server. A request is one rollout.
    """

    token_variable: str | None = "VLLM_API_KEY"
    concurrency: int = 16

    START: ClassVar[str] = "vllm serve MODEL --port 8000 --max-logprobs 64"

    @property
    def capabilities(self) -> Capabilities:
        """What `prompt_logprobs` holds."""
        return Capabilities(given_ids=False, vocabulary=False, text=False, temperature=1.0)

    def open(self, context: TeacherContext) -> OpenTeacher:
        """See `Teacher`. Raises UserError where no server answers, or serves what it should not."""
        from opdkit.teachers.prompt_scores import open_prompt_scores  # brings the client, which is an extra

        return open_prompt_scores(self.contact(), self.model, context)
