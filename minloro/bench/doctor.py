"""Before a collection that takes hours: what will it cost, and what can this server do?

`--dry-run` asks nobody. `python -m minloro doctor` asks a few questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from minloro.llm.standin import StandInLLM
from minloro.loro import collect
from minloro.transitions import COLUMNS

if TYPE_CHECKING:
    from minloro.bench.settings import Settings
    from minloro.llm.client import ChatClient
    from minloro.llm.model import Reply
    from minloro.tasks.task import Task
    from minloro.transitions import Transitions

QUESTIONS = 5
CHARACTERS_PER_TOKEN = 4  # of English text, roughly
REPLY_TOKENS = {"direct": 6, "cot": 150}  # roughly
# A reply with more than SLACK_FACTOR * limit + SLACK_TOKENS tokens shows that the limit is ignored.
# Servers count a few tokens more or less than others.
SLACK_FACTOR = 1.2
SLACK_TOKENS = 8


def estimate(settings: Settings, task: Task) -> str:
    """Say how many calls and tokens a run would need, judged by the steps of the stand-in."""
    if not settings.needs_data or settings.data is not None:
        return f"A dry run of {task.name}: with these settings nobody is asked."
    played = collect(task, StandInLLM(task, settings.seed), settings.episodes, settings.seed)
    data_sets = settings.seeds if settings.fresh_data else 1
    calls = len(played) * data_sets
    most_calls = settings.episodes * task.step_limit * data_sets
    prompt = prompt_tokens(task, played)
    reply = REPLY_TOKENS[settings.reasoning]
    return (
        f"A dry run of {task.name}: nothing was asked, and nothing was written.\n"
        f"About {calls:,} calls, if the model plays as many steps as the scripted stand-in.\n"
        f"At most {most_calls:,}, if every episode is as long as it can be, and twice that if no "
        "reply can be read.\n"
        f"About {prompt:,.0f} tokens of prompt and {reply} of reply per call: about "
        f"{calls * (prompt + reply):,.0f} in all."
    )


def prompt_tokens(task: Task, played: Transitions) -> float:
    """Return about how many tokens the messages of one decision have, halfway through D."""
    assert task.prompt is not None  # it was played through one
    half = len(played) // 2
    first_half = played.rows(slice(half))
    columns = [getattr(first_half, name).tolist() for name in COLUMNS]
    rows = list(zip(*columns, strict=True))
    messages = task.prompt.messages(played.observations[half], rows)
    characters = sum(len(message["content"]) for message in messages)
    return characters / CHARACTERS_PER_TOKEN


def examine(settings: Settings, task: Task, llm: ChatClient) -> str:
    """Ask a server a few questions and say what it can do.

    Raises what the client raises if the server cannot be asked.
    """
    played = collect(task, StandInLLM(task), settings.episodes)
    replies = ask(llm, task, played.observations)
    readable = count_readable(task, replies)
    # A reply that cannot be read makes one more call necessary.
    calls = len(played) * (2 - readable / QUESTIONS)
    findings = {
        "server": _server_text(llm, replies),
        "token limit": f"the field is {llm.limit_field}",
        "refused settings": _refused_text(llm),
        "reasoning": _reasoning_text(replies),
        "form": f"{readable} of {QUESTIONS} replies end in a line that can be read as an action",
        "cut off": _cut_off_text(replies, llm.settings["max_tokens"]),
        "time": f"{_time_text(replies, calls)} for {settings.episodes} episodes of {task.name}, "
        "one at a time",
        "tokens": _tokens_text(replies, calls),
    }
    return "\n".join(f"{name + ':':<18}{text}" for name, text in findings.items())


def ask(llm: ChatClient, task: Task, observations: np.ndarray) -> list[Reply]:
    """Ask the first QUESTIONS observations. The last question also sends a temperature.

    That shows whether the server takes another temperature than its own.
    """
    assert task.prompt is not None  # it was played through one
    replies = []
    for k in range(QUESTIONS):
        observation = observations[min(k, len(observations) - 1)]
        if k == QUESTIONS - 1:
            llm.settings.setdefault("temperature", 0.0)
        messages = task.prompt.messages(observation, [])
        replies.append(llm.complete(messages, sample=(0, 0, k, 0)))
    return replies


def count_readable(task: Task, replies: Sequence[Reply]) -> int:
    """Return how many replies can be read as an action."""
    assert task.prompt is not None
    actions = [task.prompt.parse(reply.answer) for reply in replies]
    return sum(action is not None for action in actions)


def _server_text(llm: ChatClient, replies: Sequence[Reply]) -> str:
    name = replies[0].model
    text = f"{llm.url} answers, as {name}"
    return f"{text} (the name that was asked for)" if name == llm.name else text


def _refused_text(llm: ChatClient) -> str:
    if llm.dropped:
        return ", ".join(llm.dropped)
    return "none of those that were sent; they may still have no effect"


def _reasoning_text(replies: Sequence[Reply]) -> str:
    if any(reply.reasoning for reply in replies):
        return "in a field that is not read"
    return "in no field of its own"


def _cut_off_text(replies: Sequence[Reply], limit: int) -> str:
    cut_off = sum(reply.finish_reason == "length" for reply in replies)
    longest = max(reply.usage.get("completion_tokens", 0) for reply in replies)
    text = f"{cut_off} of {len(replies)} replies at {limit} tokens"
    if longest > SLACK_FACTOR * limit + SLACK_TOKENS:
        text += f"; one has {longest}: the limit is not kept"
    return text


def _time_text(replies: Sequence[Reply], calls: float) -> str:
    seconds = sum(reply.latency for reply in replies) / len(replies)
    return f"{seconds:.2f} s per call; about {calls * seconds / 3600:.2f} hours"


def _tokens_text(replies: Sequence[Reply], calls: float) -> str:
    counted = [sum(reply.usage.values()) for reply in replies if reply.usage]
    if not counted:
        return "the server counts none"
    tokens = sum(counted) / len(counted)
    return f"{tokens:.0f} tokens per call, about {calls * tokens:,.0f} in all"
