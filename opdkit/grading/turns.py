"""Finds the part of a response that may contain its answer: its own chat turn, without unfinished reasoning.

Every function is linear in the length of the text: patterns have only bounded repetitions.
"""

from __future__ import annotations

import re

_NAMES = (
    r"im_(?:start|end|sep|user|assistant|system|middle)|(?:begin|end)_of_(?:text|turn|sentence|role)|start_of_(?:turn|role)"
    r"|(?:start|end)_header_id|header_(?:start|end)|eot(?:_id)?|eom(?:_id)?|[be]os|endoftext|endofprompt|endofturn|end"
    r"|start|user|assistant|system|tool|developer|observation|return|call|channel|message|constrain|python_tag|turn_end"
    r"|(?:start|end)_of_turn_token|(?:user|chatbot|system|bos|eos)_token|finetune_right_pad_id|hy_[a-z]{1,20}|inst"
)
# ChatML, Llama 3 and 4, Phi, GLM, Cohere, Granite, gpt-oss; DeepSeek and Hunyuan; Gemma; Mistral and Llama 2; EXAONE.
_TURN = re.compile(
    rf"<\|(?:{_NAMES})\|>|<\uff5c[^<>\uff5c\n]{{1,40}}\uff5c>|</?(?:start|end)_of_turn>|<\|turn>|<turn\|>|<[be]os>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS)\]|<</?SYS>>|\[\|(?:user|assistant|system|endofturn)\|\]"
    r"|<(?:seed|sop|eop):?(?:[be]os)?>|\[gMASK\]",
    re.IGNORECASE,
)
_END_OF_TEXT = "</s>"
_FINAL_CHANNEL = "<|channel|>final<|message|>"
_OTHER_ROLE = re.compile(r"<\|start\|>(?!assistant)")
_TAGS = (r"<{}(?:think|thinking|thought|reasoning|seed:think)>", r"\[{}THINK\]", "\u25c1{}think\u25b7")
_OPENS_REASONING = re.compile("|".join(tag.format("") for tag in _TAGS) + r"|<\|begin_of_thought\|>")
_CLOSES_REASONING = re.compile("|".join(tag.format("/") for tag in _TAGS) + r"|<\|end_of_thought\|>")


def own_turn(response: str) -> str | None:
    """The response without end markers; None if it continues after one into another turn.

    If a turn has several messages (gpt-oss's channels), the final one is returned.
    """
    head, final, tail = response.rpartition(_FINAL_CHANNEL)
    if final:
        if _OTHER_ROLE.search(head):
            return None
        response = tail
    markers = [match.span() for match in _TURN.finditer(response)]
    if "<s>" not in response:  # otherwise it is struck-out text
        markers += [(match.start(), match.end()) for match in re.finditer(_END_OF_TEXT, response)]
        markers.sort()
    end = len(response)
    while markers and not response[markers[-1][1] : end].strip():
        end = markers.pop()[0]
    if response[:end].endswith(_END_OF_TEXT):
        end -= len(_END_OF_TEXT)
    return None if markers else response[:end]


def conclusion(response: str) -> tuple[int, int]:
    """Start and end of a response's conclusion: after the last reasoning, before an unfinished one."""
    start = 0
    for match in _CLOSES_REASONING.finditer(response):
        start = match.end()
    unfinished = _OPENS_REASONING.search(response, start)
    return start, unfinished.start() if unfinished else len(response)
