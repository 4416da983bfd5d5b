"""Uploads the student of a run to a Hugging Face Hub repository."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from opdkit.errors import RunError, UserError
from opdkit.files import write_whole
from opdkit.runs.folder import RunFolder

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TOKEN_VARIABLE = "HF_TOKEN"
Result = TypeVar("Result")


def open_repository(repository: str) -> None:
    """Creates the (private) repository if needed, so that upload errors surface before a run.

    Raises UserError for an invalid name, a missing token, and a Hub that rejects the request or is unreachable.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    asked = f"push_to_hub={repository}"
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise UserError(f"{asked}: {_line(error)}") from error
    if repository.count("/") != 1:
        raise UserError(f"{asked}: must be USER/NAME or ORGANISATION/NAME")
    if not os.environ.get(TOKEN_VARIABLE):
        raise UserError(f"{asked}: needs a token with write access in the environment variable {TOKEN_VARIABLE}")
    if constants.HF_HUB_OFFLINE:
        raise UserError(
            f"{asked}: HF_HUB_OFFLINE is set, so nothing can be uploaded; unset it, or leave push_to_hub out"
        )
    try:
        _contacted(lambda api: api.create_repo(repository, private=True, exist_ok=True))
    except RunError as error:
        raise UserError(f"{asked}: the Hub rejects the request or can't be reached: {error}") from error


def push(folder: RunFolder, repository: str) -> str:
    """Uploads final/ and records it; returns its location. A run is uploaded to a repository only once.

    Raises RunError if the Hub rejects it; the run folder is unchanged.
    """
    summary: dict[str, Any] = json.loads(folder.summary.read_text(encoding="utf-8"))
    pushed = summary.get("pushed")
    if pushed is None or pushed["repository"] != repository:
        try:
            commit = _contacted(lambda api: _upload(api, repository, folder.final, summary))
        except RunError as error:
            raise RunError(
                f"push_to_hub={repository}: the upload failed: {error}; the run is complete, with its student in "
                f"{folder.final}, and the same command with run_dir={folder.path} resume=true uploads it again"
            ) from error
        pushed = {"repository": repository, "commit": commit}
        write_whole(folder.summary, json.dumps({**summary, "pushed": pushed}, indent=1) + "\n")
    return f"{repository} on the Hub, commit {pushed['commit']}"


def _upload(api: HfApi, repository: str, final: Path, summary: dict[str, Any]) -> str:
    message = f"A student of opdkit after {summary['steps']} steps"
    return str(api.upload_folder(repo_id=repository, folder_path=final, commit_message=message).oid)


def _contacted(ask: Callable[[HfApi], Result]) -> Result:
    """The Hub's reply. Raises a one-line RunError, without the token, on failure."""
    from huggingface_hub import HfApi

    token = os.environ.get(TOKEN_VARIABLE, "")
    try:
        return ask(HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token))
    except Exception as error:  # errors of the Hub client, its HTTP client and the disk
        raise RunError(_line(error).replace(token, "***") if token else _line(error)) from error


def _line(error: Exception) -> str:
    """The first lines of a message, joined."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"
