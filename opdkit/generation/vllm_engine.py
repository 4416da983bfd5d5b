"""The client of vLLM servers that generate the student's responses and load its weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from opdkit import device
from opdkit.errors import RunError, UserError
from opdkit.generation.base import Ask, Completion, Sampling
from opdkit.generation.pack import Turn, pack
from opdkit.generation.vllm_delivery import AdaptersAlone, Delivery, WholeWeights, rank_of
from opdkit.generation.vllm_process import VLLMProcess
from opdkit.generation.vllm_sampling import sampling_fields
from opdkit.generation.vllm_settings import VLLMSettings
from opdkit.generation.weights import WeightsFolder
from opdkit.models import LanguageModel, Request, Scorer
from opdkit.retrying import LastingError, PassingError
from opdkit.servers.pool import ServerPool
from opdkit.world.world import World

_JSON = {"content-type": "application/json"}
_PROOF_TOKENS = 47
_ATTEMPTS_AT_THE_CACHE = 20
_ATTEMPTS_AT_A_BATCH = 3


def open_engine(settings: VLLMSettings, model: LanguageModel) -> VLLMEngine:
    """An engine with running servers, which have the weights of `model` after the first `refresh`.

    Collective: rank 0 writes the weights, and starts a server if none is given; all ranks generate with it.
    """
    world, held = World.current(), _Resources()
    starts = not settings.contact.servers
    if settings.adapters == "alone":
        rank_of(model)  # raises for a student with other trained parameters than adapters

    def begin() -> list[str]:
        held.folder = folder = WeightsFolder(settings.weights_folder)
        if not starts:
            return [str(folder.path), *settings.contact.servers]
        options = _delivery(settings, folder, starts).start(model)
        held.process = VLLMProcess(replace(settings, options=[*settings.options, *options]), folder.path)
        return [str(folder.path), held.process.address]

    try:
        with model.whole():
            place, *servers = world.from_main(begin)
        contact = replace(settings.contact, servers=tuple(servers))
        delivery = _delivery(settings, WeightsFolder(place), starts)
        return VLLMEngine(replace(settings, contact=contact), model, delivery, held)
    except BaseException:
        held.close()
        raise


def _delivery(settings: VLLMSettings, folder: WeightsFolder, starts: bool) -> Delivery:
    """starts: whether the run starts the server, with opdkit's worker extension, which also reloads a tied lm_head."""
    if settings.adapters == "alone":
        return AdaptersAlone(folder)
    return WholeWeights(folder, "opdkit_reload_weights" if starts else "reload_weights")


@dataclass
class _Resources:
    """The resources that rank 0 releases at the end: the folder of weights, and the server that it started."""

    folder: WeightsFolder | None = None
    process: VLLMProcess | None = None

    def ended(self) -> str | None:
        """The server's error if it has exited by itself."""
        return None if self.process is None else self.process.ended()

    def close(self) -> None:
        if self.process is not None:
            self.process.close()
        if self.folder is not None:
            self.folder.remove()


class VLLMEngine:
    """Generates with vLLM servers. A server that was lost is not used until it has the current weights again.

    Args:
        settings: settings with the servers' addresses.
        model: the student.
        delivery: sends its weights.
        held: the resources to release at the end.
    """

    def __init__(self, settings: VLLMSettings, model: LanguageModel, delivery: Delivery, held: _Resources) -> None:
        self._settings = settings
        self._model = model
        self._delivery = delivery
        self._held = held
        self._version: int | None = None
        self._asleep = False
        self._pool = ServerPool(settings.contact, self._hand_over)
        try:
            self._name = self._common_model(self._pool.greet("/v1/models", _served))
            self.rest()
        except BaseException:
            self._pool.close()
            raise

    def generate(self, asks: Sequence[Ask], sampling: Sampling) -> list[Completion]:
        """See `Engine`. Log-probs are the engine's own, and only returned at temperature 1."""
        if self._version is None or self._asleep:
            self.refresh(self._model, self._version or 0)
        fields = sampling_fields(sampling) | {
            "model": self._delivery.named(self._name),
            "stop_token_ids": sorted(self._model.stop_ids),
            "return_token_ids": True,
            "skip_special_tokens": False,
            "logprobs": 0,
        }
        bodies = [
            json.dumps(
                fields | {"prompt": list(ask.prompt_ids), "seed": ask.seed, "max_tokens": ask.max_new_tokens}
            ).encode()
            for ask in asks
        ]
        plain = sampling.temperature == 1.0

        def read(number: int, answer: bytes) -> Completion:
            return _completion(answer, asks[number].max_new_tokens, plain)

        completions = self._written(lambda: list(self._pool.map("/v1/completions", bodies, read, _JSON)))
        for completion in completions:
            if any(not 0 <= index < self._model.vocabulary for index in completion.ids):
                raise RunError(f"rollout.servers: {self._name} wrote ids that {self._model.name} does not have")
        return completions

    def _written(self, write: Callable[[], list[Completion]]) -> list[Completion]:
        """The result of `write` with the current weights on every server. If a server was restarted meanwhile, the
        weights are sent again and everything is regenerated."""
        for _ in range(_ATTEMPTS_AT_A_BATCH):
            completions = write()
            try:
                self._pool.everywhere(lambda ask: self._prove(ask, *self._proof), prepared=True)
                return completions
            except (LastingError, PassingError):
                self._pool.patiently(self._hand_over)
        raise RunError(f"rollout.servers: they lost the weights {_ATTEMPTS_AT_A_BATCH} times within one batch")

    def refresh(self, model: LanguageModel, version: int) -> None:
        """See `Engine`. Collective, with gathered weights: rank 0 sends them, and the others verify them. Raises
        RunError if the servers' log-probs then differ from the student's."""
        if version == self._version and not self._asleep:
            return
        self._model = model
        self._proof = _proof(model)
        self._delivery.take(version)
        world = World.current()

        def send() -> None:
            self._delivery.write(model)
            if self._asleep:
                device.empty_cache()  # the server needs the memory cached by torch
            self._pool.patiently(self._hand_over)

        world.from_main(send)
        if not world.main:
            self._pool.patiently(lambda: self._pool.everywhere(lambda ask: self._prove(ask, *self._proof)))
        self._version, self._asleep = version, False

    def rest(self) -> None:
        """See `Engine`. With `rollout.sleep` the server discards its weights and its cache."""
        if not self._settings.sleeps or self._asleep:
            return

        def put_to_sleep() -> None:
            self._pool.patiently(lambda: self._pool.everywhere(lambda ask: ask("POST", "/sleep?level=2", b"")))

        World.current().from_main(put_to_sleep)
        self._asleep = True

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of the servers."""
        return self._pool.contact.servers

    def close(self) -> None:
        """See `Engine`."""
        self._pool.close()
        self._held.close()

    def _hand_over(self) -> None:
        """Make every server load the weights, and verify that it has."""
        if (error := self._held.ended()) is not None:
            raise LastingError(f"the one that was started here has ended: {error}")

        def one(ask: Callable[[str, str, bytes], bytes]) -> None:
            try:
                self._wake(ask, "weights")
                self._delivery.hand_over(ask)
                self._wake(ask, "kv_cache")
                _empty_cache(ask)
            except LastingError as failure:
                raise LastingError(f"{failure}; start it as in `{self._pool.contact.start}`") from None
            self._prove(ask, *self._proof)

        self._pool.everywhere(one)

    def _wake(self, ask: Callable[[str, str, bytes], bytes], part: str) -> None:
        """Make a server allocate memory for `part` again. Has no effect on a server that is awake."""
        if self._settings.sleeps:
            ask("POST", f"/wake_up?tags={part}", b"")

    def _prove(self, ask: Callable[[str, str, bytes], bytes], tokens: list[int], expected: list[float]) -> None:
        body = {"model": self._delivery.named(self._name), "prompt": [tokens], "max_tokens": 1, "prompt_logprobs": 0}
        found = _prompt_log_probs(ask("POST", "/v1/completions", json.dumps(body).encode()), tokens)
        gap = sum(abs(ours - theirs) for ours, theirs in zip(expected, found, strict=True)) / len(found)
        if not gap <= self._settings.gap_limit:
            raise LastingError(
                f"after the weights were handed over its log-probs are {gap:.3g} nats off the student's on average "
                f"(rollout.gap_limit={self._settings.gap_limit:g}); a server that opdkit starts (rollout.servers=null) "
                "takes over tied lm_heads, too"
            )

    def _common_model(self, served: dict[str, tuple[str, int | None]]) -> str:
        """The model name common to all servers. Raises UserError if responses may exceed a server's maximum length."""
        for server, (_, longest) in served.items():
            if longest is not None and longest < self._settings.longest:
                raise UserError(
                    f"rollout.max_prompt_tokens and rollout.max_new_tokens: together {self._settings.longest}, more "
                    f"than the {longest} tokens of {server} (--max-model-len)"
                )
        names = {name for name, _ in served.values()}
        if len(names) != 1:
            raise UserError(f"rollout.servers: they serve {', '.join(sorted(names))}; one name for all is needed")
        return names.pop()


@torch.no_grad()
def _proof(model: LanguageModel) -> tuple[list[int], list[float]]:
    """A few tokens, and the student's log-probs of all but the first, at temperature 1.

    One sequence: a server scores two in two steps, and the CPU build (0.32) fails on two with adapters.
    """
    size = min(model.vocabulary, len(model.tokenizer))
    generator = torch.Generator().manual_seed(0)
    tokens: list[int] = torch.randint(0, size, (_PROOF_TOKENS,), generator=generator).tolist()
    rollout = pack(model, [[Turn((tokens[0],), Completion(tuple(tokens[1:]), None, None, "length"))]], ())
    scores = Scorer(model)(rollout, rollout.sampled_mask, Request(sampled=True), 1.0)
    assert scores.sampled_log_prob is not None
    return tokens, scores.sampled_log_prob[0].tolist()


def _served(answer: bytes) -> tuple[str, int | None]:
    try:
        first: dict[str, Any] = json.loads(answer)["data"][0]
        longest = first.get("max_model_len")
        return str(first["id"]), None if longest is None else int(longest)
    except (ValueError, LookupError, TypeError, RecursionError, AttributeError):
        raise LastingError("it is no vLLM server") from None


def _completion(answer: bytes, longest: int, plain: bool) -> Completion:
    """Parse a completion. Raises PassingError for an invalid answer."""
    try:
        choice: dict[str, Any] = json.loads(answer)["choices"][0]
        ids = tuple(int(index) for index in choice["token_ids"])
        log_probs = [float(value) for value in choice["logprobs"]["token_logprobs"]]
        if not 0 < len(ids) <= longest or len(log_probs) != len(ids):
            raise ValueError
    except (ValueError, LookupError, TypeError, RecursionError):
        raise PassingError("an answer without token ids and their log-probs") from None
    reason = "stop" if choice.get("finish_reason") == "stop" else "length"
    return Completion(ids, None, None, reason, torch.tensor(log_probs) if plain else None)


def _prompt_log_probs(answer: bytes, ids: list[int]) -> list[float]:
    """The log-probs of all ids but the first."""
    try:
        entries: list[Any] = json.loads(answer)["choices"][0]["prompt_logprobs"]
        return [float(entries[at][str(ids[at])]["logprob"]) for at in range(1, len(ids))]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise PassingError("an answer without the log-probs of its prompt") from None


def _empty_cache(ask: Callable[[str, str, bytes], bytes]) -> None:
    """Clear the prefix cache, whose keys and values are from the old weights."""
    for _ in range(_ATTEMPTS_AT_THE_CACHE):
        try:
            if json.loads(ask("POST", "/reset_prefix_cache", b"")).get("success", True):
                return
        except (ValueError, AttributeError):
            return  # older servers send an empty answer
    raise PassingError("its prefix cache is still in use")
