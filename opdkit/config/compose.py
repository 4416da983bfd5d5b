"""Composes a root configuration with Hydra and reports errors in one line."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from opdkit.config import location, schema
from opdkit.config.binding import keys_of
from opdkit.config.near import no_value, refusal
from opdkit.config.overrides import Typed, check, parse
from opdkit.errors import UserError
from opdkit.extras import PackageMissingError


@dataclass(frozen=True)
class Source:
    """The root to compose (`train`, `eval`, `study`, `serve`) and the user's own folder."""

    root: str
    own: str | None = None

    @property
    def folders(self) -> tuple[Path, ...]:
        return location.search_folders(self.own)


def compose(source: Source, overrides: Sequence[str], *, with_hydra: bool = False) -> DictConfig:
    """The composed, unresolved configuration of one job. Raises UserError."""
    typed = parse(overrides)
    check(source.root, typed, source.folders, multirun=False)
    try:
        return _compose(source, overrides, with_hydra=with_hydra)
    except yaml.YAMLError as error:
        raise UserError(_broken_file(source)) from error
    except (CompactHydraException, OmegaConfBaseException) as error:
        _blame_a_plugin(error)
        _blame_an_override(source, typed, error)
        raise UserError(_first_lines(error)) from error


def _compose(source: Source, overrides: Sequence[str], *, with_hydra: bool) -> DictConfig:
    schema.register()
    shipped, *own = source.folders
    extra = [f"hydra.searchpath=['file://{_quoted(folder)}']" for folder in own]
    GlobalHydra.instance().clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with initialize_config_dir(str(shipped), job_name=source.root, version_base="1.3"):
            config = hydra_compose(source.root, [*overrides, *extra], return_hydra_config=True)
    HydraConfig.instance().set_config(config)  # where ${hydra:...} interpolations resolve
    return config if with_hydra else without_hydra(config)[0]


def without_hydra(config: DictConfig) -> tuple[DictConfig, dict[str, str]]:
    """Removes Hydra's own node in place; returns the configuration and the chosen option of each group."""
    choices = {str(group): str(option) for group, option in config.hydra.runtime.choices.items()}
    with open_dict(config):
        del config["hydra"]
    return config, choices


def _quoted(folder: Path) -> str:
    return str(folder).replace("\\", "\\\\").replace("'", "\\'")


def _broken_file(source: Source) -> str:
    """Error line for the first invalid YAML file in the user's folder."""
    for file in sorted(path for folder in source.folders[1:] for path in folder.rglob("*.yaml")):
        try:
            yaml.safe_load(file.read_text(encoding="utf-8"))
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            return f"{file}, line {line}: is not YAML ({error.problem or error.context})"
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            return f"{file}: is not YAML ({' '.join(str(error).split())})"
    return "a file of the configuration is not YAML"


def _blame_a_plugin(error: Exception) -> None:
    found = re.search(r"Could not find '(hydra/(?:launcher|sweeper))/(joblib|submitit|optuna)(\w*)'", str(error))
    if found:
        group, name, rest = found.groups()
        raise PackageMissingError(f"{group}={name}{rest}: not installed; pip install 'opdkit[{name}]'") from None


def _blame_an_override(source: Source, typed: Sequence[Typed], failed: Exception) -> None:
    """Finds the override with an unknown key or a value of the wrong type.

    failed: the exception raised when composing all of them.
    """
    groups = location.groups(source.folders)
    choices = [t.text for t in typed if t.key in groups or t.key.startswith("hydra")]
    try:
        base = _compose(source, choices, with_hydra=False)
    except (CompactHydraException, OmegaConfBaseException) as error:
        raise UserError(_first_lines(error)) from error
    suspects = [item for item in typed if item.text not in choices]
    for item in suspects:
        _check_key(base, item)
        try:
            if len(suspects) == 1:
                raise failed
            _compose(source, [*choices, item.text], with_hydra=False)
        except (CompactHydraException, OmegaConfBaseException) as error:
            raise UserError(f"{item.text}: {_reason(base, item, error)}") from error


def _check_key(base: DictConfig, item: Typed) -> None:
    parent, _, last = item.key.rpartition(".")
    walked = ""
    node: Any = base
    for part in [*parent.split("."), last] if parent else [last]:
        if not isinstance(node, DictConfig):
            raise UserError(f"{item.text}: {walked} holds a single value and has no keys")
        names = [str(name) for name in node]
        if part not in names and not (part == last and item.override.is_add()):
            if not names and part == last:
                raise UserError(f"{item.text}: {walked} has no {part} yet; write +{item.text} to add it")
            where = f" in {walked}" if walked else ""
            more = keys_of(walked, node.get("_target_")) if "_target_" in names else []
            if part == last and part in more:
                raise UserError(f"{item.text}: {walked} does not set {part} yet; write +{item.text} to add it")
            allowed = [*names, *(name for name in more if name not in names)]
            raise UserError(refusal(item.text, f"no key named {part}{where}", part, allowed))
        walked = f"{walked}.{part}" if walked else part
        node = cast(Any, node)._get_node(part)  # the value may be an interpolation that can't be resolved yet


def _reason(base: DictConfig, item: Typed, error: Exception) -> str:
    node: Any = OmegaConf.select(base, item.key.rpartition(".")[0]) if "." in item.key else base
    expected = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    kind = expected.get(node._get_node(item.key.rpartition(".")[2])._metadata.ref_type)
    inside = node._get_node(item.key.rpartition(".")[2])
    if (
        not kind
        and isinstance(inside, DictConfig)
        and not isinstance(item.value, dict)
        and item.key not in location.groups([location.conf_dir()])
    ):
        return f"it has keys of its own: {', '.join(f'{item.key}.{name}' for name in inside)}"
    return f"the value must be {kind}" if kind else _first_lines(error)


def _first_lines(error: Exception) -> str:
    """Hydra's or OmegaConf's message on one line."""
    text = f"{error}\n{error.__cause__ or ''}" if isinstance(error, CompactHydraException) else str(error)
    lines = [line.strip() for line in text.partition("Config search path:")[0].splitlines()]
    kept = [line for line in lines if line and not line.startswith(("full_key", "object_type", "Set the env"))]
    return "; ".join(dict.fromkeys(kept))


def resolve(config: DictConfig) -> dict[str, Any]:
    """The configuration as plain values, without shorthands. Raises UserError for a dangling reference."""
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    except OmegaConfBaseException as error:
        missing = re.search(r"Missing mandatory value: (\S+)", str(error))
        raise UserError(no_value(missing.group(1)) if missing else _first_lines(error)) from error
    values = cast(dict[str, Any], plain)
    return {key: value for key, value in values.items() if key not in schema.SHORTHANDS}
