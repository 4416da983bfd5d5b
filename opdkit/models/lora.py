"""Trains low-rank adapters on a frozen model (LoRA, Hu et al. 2021)."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from safetensors.torch import load_file
from torch import Tensor, nn

from opdkit.errors import UserError
from opdkit.extras import need_package
from opdkit.models.language_model import LanguageModel, bare_copy
from opdkit.models.quantised import prove_gradients
from opdkit.models.spec import ModelSpec, Quantization
from opdkit.models.template import first_line

ALL_LINEAR = "all-linear"
_WEIGHTS = "adapter_model.safetensors"
# The prefix of weight names inside peft's wrapper.
_INSIDE = "base_model.model."


@dataclass(frozen=True)
class LoRA:
    """Low-rank adapters: W + (alpha / r) B A, with trainable A and B in float32.

    Attributes:
        r: rank.
        alpha: the adapter is scaled by alpha / r.
        dropout: dropout probability of the adapter's input.
        targets: names of the linear layers to adapt, or all-linear for all but lm_head.
        modules_to_save: names of further modules to train in full; not lm_head or the embeddings.
        merge: whether final/ is the merged model rather than an adapter folder.
        quantize: none, or nf4 to hold the base's linear layers except lm_head in 4 bits (QLoRA) with bitsandbytes.
    """

    r: int = 32
    alpha: int = 32
    dropout: float = 0.0
    targets: str | Sequence[str] = ALL_LINEAR
    modules_to_save: Sequence[str] = ()
    merge: bool = False
    quantize: Quantization = "none"

    def __post_init__(self) -> None:
        if self.r < 1:
            raise UserError(f"adapter.r={self.r}: must be at least 1")
        if not self.alpha > 0:
            raise UserError(f"adapter.alpha={self.alpha}: must be above 0")
        if not 0 <= self.dropout < 1:
            raise UserError(f"adapter.dropout={self.dropout}: must be at least 0 and below 1")
        if isinstance(self.targets, str) and self.targets != ALL_LINEAR:
            raise UserError(f"adapter.targets={self.targets}: must be {ALL_LINEAR}, or a list of names like [q_proj]")
        if not self.targets:
            raise UserError("adapter.targets=[]: names no layer")
        if self.quantize not in get_args(Quantization):
            raise UserError(f"adapter.quantize={self.quantize}: must be one of {', '.join(get_args(Quantization))}")
        need_package("peft", "lora")
        if self.quantize != "none":
            need_package("bitsandbytes", "qlora")
            if self.merge:
                raise UserError("adapter.merge=true: added to weights of 4 bits, an adapter is rounded; allowed: false")

    def attach(self, model: LanguageModel, spec: ModelSpec, saved: Path | None) -> LanguageModel:
        """The model with trainable adapters in its layers and all other weights frozen.

        Args:
            model: the base model. Its module is changed in place.
            spec: the base model's spec, to be named in the adapter folder.
            saved: an adapter folder to resume from, None for new adapters, which initially change nothing.

        Raises UserError for layers that don't exist or can't be adapted.
        """
        self._check(model.module)
        from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

        names = self.targets if isinstance(self.targets, str) else list(self.targets)
        config = LoraConfig(
            r=self.r, lora_alpha=self.alpha, lora_dropout=self.dropout, target_modules=names,
            modules_to_save=list(self.modules_to_save) or None, task_type="CAUSAL_LM",
        )  # fmt: skip
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                adapted = get_peft_model(model.module, config)
        except ValueError as error:
            raise UserError(f"adapter.targets={self.targets}: {first_line(error)}") from error
        config.base_model_name_or_path = _lasting(spec.path)
        config.revision = spec.revision
        if saved is not None:
            set_peft_model_state_dict(adapted, load_file(saved / _WEIGHTS))
        adapted.eval()
        model = replace(model, adapter=Adapters(adapted, self.merge))
        if self.quantize != "none":
            prove_gradients(model)
        return model

    def _check(self, module: Any) -> None:
        """Raises UserError for names that match no layer, and for layers whose weights the scorer reads directly."""
        layers = dict(module.named_modules())
        linear = sorted({name.rsplit(".", 1)[-1] for name, one in layers.items() if isinstance(one, nn.Linear)})
        read = (module.get_output_embeddings(), module.get_input_embeddings())
        chosen = () if isinstance(self.targets, str) else self.targets
        for key, names in (("targets", chosen), ("modules_to_save", self.modules_to_save)):
            for name in names:
                found = [one for path, one in layers.items() if path == name or path.endswith(f".{name}")]
                if not found:
                    raise UserError(f"adapter.{key}: {name} is no layer of the model; linear ones: {', '.join(linear)}")
                if any(one in read for one in found):
                    raise UserError(f"adapter.{key}: {name} can't be adapted: scores read its weights directly")


@dataclass(frozen=True)
class Adapters:
    """The adapters of a loaded model.

    Attributes:
        wrapper: peft's wrapper around the model.
        merges: see `LoRA.merge`.
    """

    wrapper: Any
    merges: bool

    @property
    def low_rank(self) -> int | None:
        """See `language_model.Adapter`."""
        (config,) = self.wrapper.peft_config.values()
        return None if config.modules_to_save else int(config.r)

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """A context in which the model is bitwise equal to the base."""
        trained = [p for p in self.wrapper.parameters() if p.requires_grad]
        with self.wrapper.disable_adapter():
            for parameter in trained:  # peft clears it, and gathered weights would keep that
                parameter.requires_grad_(True)
            yield

    def save(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write an adapter folder. weights: see `language_model.Adapter`."""
        named = None if weights is None else {f"{_INSIDE}{name}": value for name, value in weights.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.wrapper.save_pretrained(folder, state_dict=named)
        (folder / "README.md").unlink(missing_ok=True)

    def save_final(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write an adapter folder, or with `merges` the merged model; the latter removes the adapters from memory."""
        if not self.merges:
            self.save(folder, weights)
        elif weights is not None:
            self.save_merged(folder, weights)
        else:
            self.wrapper.merge_and_unload(safe_merge=True).save_pretrained(folder)

    def save_merged(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """See `language_model.Adapter`. A second model is in the CPU's memory meanwhile."""
        module = bare_copy(self.wrapper.get_base_model())
        merged = self.around(module).wrapper
        module.load_state_dict({name: weights[name] for name in module.state_dict()})
        merged.merge_and_unload(safe_merge=True).save_pretrained(folder)

    def save_base(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """See `language_model.Adapter`. A second model is in the CPU's memory meanwhile."""
        module = bare_copy(self.wrapper.get_base_model())
        bare = {name.replace(".base_layer.", "."): value for name, value in weights.items()}
        module.load_state_dict({name: bare[name] for name in module.state_dict()})
        module.save_pretrained(folder)

    def around(self, module: Any) -> Adapters:
        """See `language_model.Adapter`."""
        from peft import get_peft_model

        (config,) = self.wrapper.peft_config.values()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return replace(self, wrapper=get_peft_model(module, copy.deepcopy(config)).eval())


def _lasting(path: str) -> str:
    """The path made independent of the working directory."""
    local = Path(path).expanduser()
    return str(local.resolve()) if local.exists() and not re.match(r"embedded/", path) else path
