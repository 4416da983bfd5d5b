"""What a vLLM worker learns to do beside its own: read new weights, the tied lm_head of the CPU build included."""

from __future__ import annotations

from typing import Any

from opdkit_vllm_plan import MappedFile, Plan, Recorded, planned


class Reload:
    """Mixed into vLLM's worker by `--worker-extension-cls`."""

    model_runner: Any
    opdkit_plan: Plan | None = None

    def opdkit_reload_weights(self, weights_path: str) -> None:
        """Read the weights of a folder. On a CPU the second time and later as `Plan` does, where there is one."""
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
        """The CPU build keeps lm_head packed apart from the embedding that it is tied to, and a reload leaves it as it
        was: it is packed again."""
        head: Any = getattr(model, "lm_head", None)
        method = getattr(head, "quant_method", None)
        if method is not None and next(head.parameters()).device.type == "cpu":
            method.process_weights_after_loading(head)
