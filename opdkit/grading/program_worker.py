"""The worker process that judges programs: `python -m opdkit.grading.program_worker`.

It reads one JSON request a line on standard input and writes one JSON reply a line. Every request names the runner
("sandbox", "python", "packages", "limits"). With a "program" it is a program to be judged by "tests" (see
`grading.program_tests.ProgramTests`), "partial" and "tolerance", and the reply is a `Verdict`; without, it asks
whether the runner holds, and the reply is {"refused": why not, or null}.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from typing import Any

from opdkit.grading.program_judge import Judge
from opdkit.processes.child import claim_pipes, next_line, write_all
from opdkit.sandbox.isolation import Interpreter, open_isolation
from opdkit.sandbox.limits import Limits
from opdkit.sandbox.linux import become_subreaper
from opdkit.sandbox.probe import isolation_failure
from opdkit.sandbox.runner import ParentGoneError, Runner


def main() -> None:
    """Serves requests until the end of standard input."""
    parent = os.getppid()
    source, sink = claim_pipes()
    become_subreaper()
    write_all(sink, b'{"ready": true}\n')
    buffer = bytearray()
    with contextlib.suppress(ParentGoneError):
        while (line := next_line(source, buffer, parent)) is not None:
            write_all(sink, json.dumps(_answer(json.loads(line), source)).encode() + b"\n")


def _answer(request: dict[str, Any], source: int) -> dict[str, Any]:
    try:
        interpreter = Interpreter.find(request["python"], request["packages"])
        runner = Runner(open_isolation(request["sandbox"]), interpreter, Limits(**request["limits"]), source)
    except ValueError as error:
        return {"refused": str(error)}
    if "program" not in request:
        return {"refused": isolation_failure(runner)}
    return dataclasses.asdict(Judge(runner, request).run())


if __name__ == "__main__":
    main()
