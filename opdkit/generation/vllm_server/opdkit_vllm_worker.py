"""A worker extension for vLLM that reloads weights, including the tied lm_head of the CPU build."""

from __future__ import annotations

from typing import Any

from opdkit_vllm_plan import MappedFile, Plan, Recorded, planned


class Reload:
    """Mixed into vLLM's worker by `--worker-extension-cls`."""

    model_runner: Any
    opdkit_plan: Plan | None = None

    def opdkit_reload_weights(self, weights_path: str) -> None:
        """Load the weights of a folder. On a CPU, the first load records a `Plan`, and later loads repeat it."""
        model: Any = self.model_runner.get_model()
        file = MappedFile.of(weights_path) if next(model.parameters()).device.type == "cpu" else None
        if file is None:
            self.model_runner.reload_weights(weights_path=weights_path)
            self._opdkit_pack_head(model)
        elif self.opdkit_plan is not None and self.opdkit_plan.header == file.header:
            self.opdkit_plan.load(file, model)
        else:
            recorded = Recorded(file)
            with recorded:
                self.model_runner.reload_weights(weights_iterator=file.tensors())
            self._opdkit_pack_head(model)
            self.opdkit_plan = planned(file, model, recorded)

    def _opdkit_pack_head(self, model: Any) -> None:
        """Pack lm_head again: the CPU build packs a tied lm_head apart from the embedding, and a reload misses it."""
        head: Any = getattr(model, "lm_head", None)
        method = getattr(head, "quant_method", None)
        if method is not None and next(head.parameters()).device.type == "cpu":
            method.process_weights_after_loading(head)
