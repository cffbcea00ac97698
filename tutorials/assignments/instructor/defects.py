"""What can be wrong in warmstart.py: the defects of the published implementation, and some for variants.

A defect is a few places of warmstart.py that are changed. REAL are the five that the official code of the paper has (the
repository's tutorials/defects.py shows them on its published files). To add one, add an entry, and a test to
instructor/test_student.py that catches it.
"""

from dataclasses import dataclass
from pathlib import Path

from checking import changed


@dataclass(frozen=True)
class Defect:
    """changes: (right, wrong) places of warmstart.py. where, idea: what a student hears who has not caught it."""

    changes: tuple[tuple[str, str], ...]
    where: str
    idea: str


_STORED = "in what `collect` stores"
DEFECTS = {
    "misaligned": Defect(
        (
            ("rows.append((observation,", "observation = next_observation\n            rows.append((observation,"),
            ("            observation = next_observation\n    return", "    return"),
        ),
        _STORED, "play a game in which you know every observation, and compare the columns of a row with what happened.",
    ),
    "truncation": Defect(
        (("reward, next_observation, terminated, truncated, episode", "reward, next_observation, ended, False, episode"),),
        _STORED, "how can an episode end? Test every way.",
    ),
    "shared-agent": Defect(
        (("    for repeat in range(n):\n        agent = make_agent()\n",
          "    agent = make_agent()\n    for repeat in range(n):\n"),),
        "in `repeats`", "what must two repeats have in common, and what not? An agent of your own can tell what it has seen.",
    ),
    "lost-sign": Defect(
        (("{angle:.3f} rad.", "{abs(angle):.3f} rad."),),
        "in the text that the model gets", "what could a model not know from the text alone? Compare texts of pairs of states.",
    ),
    "last-digit": Defect(
        (
            ('last = reply.rstrip().rpartition("\\n")[2].strip()', 'digits = re.findall(r"[01]", reply)'),
            ('    match = re.fullmatch(r"Action: ?([01])", last)\n', ""),
            ("int(match[1]) if match else None", "int(digits[-1]) if digits else None"),
        ),
        "in how replies are read", "write down ten replies that a talkative model might give, and what each should mean.",
    ),
    "same-start": Defect(
        (("env.reset(seed=seed + episode)", "env.reset(seed=seed)"),),
        "in how `collect` starts its episodes", "what differs from one episode to the next?",
    ),
    "fixed-fallback": Defect(
        (("action = int(rng.integers(len(ACTIONS)))", "action = 0"),),
        "in what happens where a reply names no action", "let a model say nothing for a while, and look at the actions.",
    ),
    "offline-only": Defect(
        (("        agent.update(buffer.sample(agent.batch_size, rng), rng)\n        encoded,", "        encoded,"),),
        "in `learn`", "count what the agent is asked to do.",
    ),
}  # fmt: skip
REAL = ("misaligned", "truncation", "shared-agent", "lost-sign", "last-digit")


def warmstart(defects: tuple[str, ...] = ()) -> str:
    """Return warmstart.py with these defects in it."""
    source = (Path(__file__).parent / "warmstart.py").read_text(encoding="utf-8")
    for name in defects:
        for right, wrong in DEFECTS[name].changes:
            source = changed(source, right, wrong)
    return source
