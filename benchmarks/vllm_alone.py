"""Times vLLM without opdkit; runs under the interpreter that has vLLM, which has no opdkit.

    ENV/bin/python benchmarks/vllm_alone.py MODEL ANSWER < job.json

The job: prompts (lists of ids), max_tokens and repeats. ANSWER is the JSON file to write: one pair of seconds and
generated tokens per repeat. They do not go to standard output because vLLM prints there too.
"""

import json
import sys
import time
from pathlib import Path

from vllm import LLM, SamplingParams  # pyright: ignore[reportMissingImports]


def main() -> None:
    job = json.load(sys.stdin)
    engine = LLM(sys.argv[1], dtype="float32", enforce_eager=True, max_model_len=1024)
    prompts = [{"prompt_token_ids": ids} for ids in job["prompts"]]
    found = []
    for repeat in range(job["repeats"]):
        settings = [
            SamplingParams(temperature=1.0, max_tokens=job["max_tokens"], seed=1000 * repeat + row, logprobs=0)
            for row in range(len(prompts))
        ]
        started = time.perf_counter()
        answers = engine.generate(prompts, settings, use_tqdm=False)
        found.append((time.perf_counter() - started, sum(len(answer.outputs[0].token_ids) for answer in answers)))
    Path(sys.argv[2]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
