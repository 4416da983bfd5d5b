"""As much of a vLLM server as opdkit asks for, over a tiny model in this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import uvicorn
from safetensors.torch import load_file
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from opdkit.generation import Ask, HFEngine, Sampling
from opdkit.models import LanguageModel
from opdkit.samplers import Ancestral, Greedy, MinP, Sampler, TopK, TopP
from tests.serving.running import in_thread


@dataclass
class Stub:
    """most: log-probs that are told at most. stale: it does not take over weights. longest: tokens of a sequence.
    requests: the bodies of the completions. calls: what was asked of the workers. adapters: by name, the base's weights
    with the adapter added. order: what was asked, in words. sleeping: what of its memory it has given back; weights are
    no numbers then until they are read again."""

    model: LanguageModel
    most: int = 64
    stale: bool = False
    longest: int = 512
    requests: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    adapters: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    sleeping: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _base: dict[str, torch.Tensor] = field(default_factory=dict)

    async def models(self, _: Request) -> Response:
        return JSONResponse(
            {"object": "list", "data": [{"id": "served", "object": "model", "max_model_len": self.longest}]}
        )

    async def detokenize(self, request: Request) -> Response:
        return JSONResponse({"prompt": self.model.tokenizer.decode((await request.json())["tokens"])})

    async def completions(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append(body)
        self.order.append("prove" if "prompt_logprobs" in body else "write")
        if self.sleeping:
            return PlainTextResponse("asleep", 400)
        if body["model"] not in ("served", *self.adapters):
            return PlainTextResponse("no such model", 404)
        if body.get("prompt_logprobs", 0) > self.most:
            asked = body["prompt_logprobs"]
            told = f"Requested prompt logprobs of {asked}, which is greater than max allowed: {self.most}"
            return JSONResponse({"error": {"message": told}}, 400)
        several = isinstance(body["prompt"][0], list)
        bodies = [body | {"prompt": prompt} for prompt in body["prompt"]] if several else [body]
        choices = [await run_in_threadpool(self.choice, one, number) for number, one in enumerate(bodies)]
        return JSONResponse({"choices": choices})

    def choice(self, body: dict[str, Any], number: int) -> dict[str, Any]:
        with self._lock:
            if body["model"] in self.adapters:
                self.model.module.load_state_dict(self.adapters[body["model"]], strict=False)
            if "prompt_logprobs" in body:
                return {
                    "index": number,
                    "text": "",
                    "prompt_logprobs": self.prompt_logprobs(body["prompt"], body["prompt_logprobs"]),
                }
            ask = Ask(tuple(body["prompt"]), body["seed"], body["max_tokens"])
            sampling = Sampling(body["temperature"] or 1.0, _filter(body), stop=tuple(body.get("stop", ())))
            (one,) = HFEngine(self.model, 1).generate([ask], sampling)
        assert one.log_prob is not None
        told = {"token_logprobs": one.log_prob.tolist()}
        return {"index": number, "token_ids": list(one.ids), "finish_reason": one.stop_reason, "logprobs": told}

    async def collective_rpc(self, request: Request) -> Response:
        body = await request.json()
        self.calls.append(body)
        self.order.append("weights")
        if "weights" in self.sleeping:
            return PlainTextResponse("asleep", 400)
        if not self.stale:
            state = load_file(f"{body['kwargs']['weights_path']}/model.safetensors")
            with self._lock:
                self.model.module.load_state_dict(state, strict=False)
        return JSONResponse({"results": [None]})

    async def load_adapter(self, request: Request) -> Response:
        body = await request.json()
        self.calls.append(body)
        if body["lora_name"] in self.adapters:
            return PlainTextResponse("it has been loaded", 400)
        if not self._base:
            self._base = {name: value.clone() for name, value in self.model.module.state_dict().items()}
        folder = Path(body["lora_path"])
        config = json.loads((folder / "adapter_config.json").read_text())
        factors = load_file(folder / "adapter_model.safetensors")
        weights = dict(self._base)
        for name in [name for name in factors if "lora_A" in name]:
            added = factors[name.replace("lora_A", "lora_B")] @ factors[name] * (config["lora_alpha"] / config["r"])
            own = name.removeprefix("base_model.model.").replace(".lora_A", "")
            weights[own] = weights[own] + added
        self.adapters[body["lora_name"]] = weights
        return PlainTextResponse("added")

    async def unload_adapter(self, request: Request) -> Response:
        known = self.adapters.pop((await request.json())["lora_name"], None)
        return PlainTextResponse("removed" if known else "not found", 200 if known else 404)

    async def sleep(self, request: Request) -> Response:
        self.order.append(f"sleep {request.query_params['level']}")
        self.sleeping = {"weights", "kv_cache"}
        with self._lock, torch.no_grad():
            for parameter in self.model.module.parameters():
                parameter.fill_(torch.nan)
        return JSONResponse({"status": "sleeping"})

    async def wake_up(self, request: Request) -> Response:
        part = request.query_params["tags"]
        self.order.append(f"wake {part}")
        self.sleeping -= {part}
        return JSONResponse({"status": "sleeping" if self.sleeping else "awake"})

    async def reset_prefix_cache(self, _: Request) -> Response:
        self.order.append("empty")
        return JSONResponse({"success": True})

    @torch.no_grad()
    def prompt_logprobs(self, ids: list[int], count: int) -> list[Any]:
        """None, then of each id its log-prob, and the best ids with theirs."""
        logits = self.model.module(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()
        log_prob = logits.log_softmax(-1)
        places: list[Any] = [None]
        for at in range(1, len(ids)):
            row = log_prob[at - 1]
            best = row.topk(count).indices.tolist()
            rank = int((row > row[ids[at]]).sum()) + 1
            ranked = {ids[at]: rank} | {index: place + 1 for place, index in enumerate(best)}
            places.append(
                {str(i): {"logprob": float(row[i]), "rank": r, "decoded_token": "?"} for i, r in ranked.items()}
            )
        return places


def _filter(body: dict[str, Any]) -> Sampler:
    if body["temperature"] == 0:
        return Greedy()
    if body["top_k"]:
        return TopK(body["top_k"])
    if body["min_p"]:
        return MinP(body["min_p"])
    return TopP(body["top_p"]) if body["top_p"] < 1 else Ancestral()


def application(stub: Stub) -> Starlette:
    """Its routes."""
    routes = [
        Route("/health", lambda _: Response()),
        Route("/v1/models", stub.models),
        Route("/detokenize", stub.detokenize, methods=["POST"]),
        Route("/collective_rpc", stub.collective_rpc, methods=["POST"]),
        Route("/v1/load_lora_adapter", stub.load_adapter, methods=["POST"]),
        Route("/v1/unload_lora_adapter", stub.unload_adapter, methods=["POST"]),
        Route("/sleep", stub.sleep, methods=["POST"]),
        Route("/wake_up", stub.wake_up, methods=["POST"]),
        Route("/reset_prefix_cache", stub.reset_prefix_cache, methods=["POST"]),
        Route("/v1/completions", stub.completions, methods=["POST"]),
    ]
    return Starlette(routes=routes)


@contextmanager
def stubbed(model: LanguageModel, port: int = 0, **changes: Any) -> Iterator[tuple[str, Stub]]:
    """The address of a stub, and the stub."""
    stub = Stub(model, **changes)
    server = uvicorn.Server(uvicorn.Config(application(stub), log_level="warning", ws="none"))
    with in_thread(server, port) as address:
        yield address, stub
