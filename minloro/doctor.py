"""What will it cost, and what can this server do: asked before a collection that takes hours.

`--dry-run` asks nobody; `python -m minloro doctor` asks a handful of questions.
"""

from minloro.llm.standin import StandInLLM
from minloro.loro import collect
from minloro.transitions import COLUMNS, Transitions

QUESTIONS = 5
CHARACTERS_A_TOKEN = 4  # of English text, roughly
REPLY_TOKENS = {"direct": 6, "cot": 150}  # roughly


def estimate(settings, task) -> str:
    """Say how many calls and about how many tokens a run would need, from the steps that the stand-in takes."""
    if not settings.needs_data or settings.data is not None:
        return f"A dry run of {task.name}: with these settings nobody is asked."
    played = collect(task, StandInLLM(task, settings.seed), settings.episodes, settings.seed)
    seeds = settings.seeds if settings.fresh_data else 1
    calls, most = len(played) * seeds, settings.episodes * task.step_limit * seeds
    prompt, reply = prompt_tokens(task, played), REPLY_TOKENS[settings.reasoning]
    return (
        f"A dry run of {task.name}: nothing was asked, and nothing was written.\n"
        f"About {calls:,} calls, as many steps as the scripted stand-in takes; at most {most:,}, where every episode is as\n"
        "long as it can be, and twice that where no reply can be read.\n"
        f"About {prompt:,.0f} tokens of prompt and {reply} of reply a call: about {calls * (prompt + reply):,.0f} in all."
    )


def prompt_tokens(task, played: Transitions) -> float:
    """Return about how many tokens the messages of one decision have, halfway through D."""
    half = len(played) // 2
    rows = list(zip(*(getattr(played.rows(slice(half)), name).tolist() for name in COLUMNS), strict=True))
    messages = task.prompt.messages(played.observations[half], rows)
    return sum(len(message["content"]) for message in messages) / CHARACTERS_A_TOKEN


def examine(settings, task, llm) -> str:
    """Ask `llm` a few questions of `task` and say what it can do; raises what the client raises where it cannot."""
    played = collect(task, StandInLLM(task), settings.episodes)
    replies = []
    for k in range(QUESTIONS):
        observation = played.observations[min(k, len(played) - 1)]
        if k == QUESTIONS - 1:
            llm.settings.setdefault("temperature", 0.0)  # is another temperature than its own taken?
        replies.append(llm.complete(task.prompt.messages(observation, []), (0, 0, k, 0)))
    readable = sum(task.prompt.parse(reply.answer) is not None for reply in replies)
    seconds = sum(reply.latency for reply in replies) / len(replies)
    longest = max(reply.usage.get("completion_tokens", 0) for reply in replies)
    counted = [sum(reply.usage.values()) for reply in replies if reply.usage]
    cut_off, limit = sum(reply.finish_reason == "length" for reply in replies), llm.settings["max_tokens"]
    steps = len(played) * (2 - readable / QUESTIONS)  # what cannot be read is asked a second time
    same = replies[0].model == llm.name
    ignored = f"; one has {longest}: the limit is not kept" if longest > 1.2 * limit + 8 else ""
    hours = f"about {steps * seconds / 3600:.2f} hours for {settings.episodes} episodes of {task.name}, one at a time"
    tokens = "the server counts none"
    if counted:
        each = sum(counted) / len(counted)
        tokens = f"{each:.0f} tokens a call, about {steps * each:,.0f} in all"
    lines = {
        "server": f"{llm.url} answers, as {replies[0].model}{' (the name that was asked for)' * same}",
        "token limit": f"the field is {llm.limit_field}",
        "refused settings": ", ".join(llm.dropped) or "none of those that were sent, which does not say that they are used",
        "reasoning": "in a field that is not read" if any(r.reasoning for r in replies) else "in no field of its own",
        "form": f"{readable} of {QUESTIONS} replies end in a line that can be read as an action",
        "cut off": f"{cut_off} of {QUESTIONS} replies at {limit} tokens{ignored}",
        "time": f"{seconds:.2f} s a call; {hours}",
        "tokens": tokens,
    }
    return "\n".join(f"{name + ':':<18}{text}" for name, text in lines.items())
