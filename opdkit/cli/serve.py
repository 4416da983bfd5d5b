"""`opdkit serve`: serves a model's scores over HTTP for `teacher=remote`."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import OmegaConf

from opdkit.cli.arguments import make_importable, read
from opdkit.config import schema
from opdkit.config.build import Origin, build_service
from opdkit.config.compose import Source, compose, without_hydra
from opdkit.config.overrides import check, parse
from opdkit.errors import UserError
from opdkit.extras import need_package

HELP = """opdkit serve [key=value ...]

Loads a model and serves its scores: given ids, logsumexp, entropy, top-k ids, and the full vocabulary via hidden
states. Runs with `teacher=remote teacher.servers=[http://host:port]` use it like a local teacher.

  teacher=            local, or another in-process option of `opdkit ls teacher`; teacher.path=, .dtype=
  host= port=         listening address (127.0.0.1, 8700). Any host other than loopback needs a token:
                      export OPDKIT_TOKEN=..., here and on the machine of the run
  queue=              maximum waiting requests (256)
  join_tokens=        batch requests up to this many tokens per forward pass (0: one at a time, bit-exact)
  packing=            true: pack rows without padding (false)
  --cfg job           show the configuration and exit

Stops on Ctrl-C or SIGTERM, after finishing accepted requests.
"""


def run(arguments: Sequence[str]) -> int:
    """Exit status of `opdkit serve`."""
    if any(text in ("--help", "-h") for text in arguments):
        print(HELP, end="")
        return 0
    request = read("serve", arguments)
    if request.multirun or (request.shows and "--cfg" not in request.flags):
        raise UserError("opdkit serve takes only key=value, --config-dir and --cfg job")
    make_importable(request.config_dir)
    schema.register()
    source = Source("serve", request.config_dir)
    check("serve", parse(request.overrides), source.folders, multirun=False)
    config, choices = without_hydra(compose(source, request.overrides, with_hydra=True))
    if request.shows:
        print(OmegaConf.to_yaml(config), end="")
        return 0
    need_package("uvicorn", "serve")
    service = build_service(config, Origin(request.overrides, choices, source.folders))
    from opdkit.serving.server import serve

    serve(service, lambda line: print(line, flush=True))
    return 0
