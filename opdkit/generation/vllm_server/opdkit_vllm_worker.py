"""What a vLLM worker learns to do beside its own: read new weights, the tied lm_head of the CPU build included."""

from __future__ import annotations

from typing import Any


class Reload:
    """Mixed into vLLM's worker by `--worker-extension-cls`."""

    model_runner: Any

    def opdkit_reload_weights(self, weights_path: str) -> None:
        """Read the weights of a folder. The CPU build keeps lm_head packed apart from the embedding that it is tied to,
        and leaves it as it was: it is packed again."""
        self.model_runner.reload_weights(weights_path=weights_path)
        head: Any = getattr(self.model_runner.get_model(), "lm_head", None)
        method = getattr(head, "quant_method", None)
        if method is not None and next(head.parameters()).device.type == "cpu":
            method.process_weights_after_loading(head)
