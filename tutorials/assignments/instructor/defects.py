"""What can be wrong in warmstart.py: the defects of the published implementation, and variants.

A defect is a few places of warmstart.py that are changed. REAL are the five that the official code
of the paper has (tutorials/studies/defects.py shows them on its published files). To add one, add
an entry, and a test to instructor/test_student.py that catches it.
"""

from dataclasses import dataclass
from pathlib import Path

from checking import changed


@dataclass(frozen=True)
class Defect:
    """One thing that is wrong."""

    # (right, wrong) places of warmstart.py.
    changes: tuple[tuple[str, str], ...]
    # Where it is, and how to find it: a student hears both if no test has caught the defect.
    where: str
    idea: str


_STORED = "in what `collect` stores"
_S_A_R_S = "            s_a_r_s = (observation, action, reward, next_observation)\n"
_GO_ON = "            observation = next_observation\n"
_NEW_AGENT = "        agent = make_agent()\n"
_REPEATS = "    for repeat in range(n):\n"
_UPDATE = "        agent.update(buffer.sample(agent.batch_size, rng), rng)\n"

DEFECTS = {
    "misaligned": Defect(
        changes=((_S_A_R_S, _GO_ON + _S_A_R_S), (_GO_ON + "    return", "    return")),
        where=_STORED,
        idea="play a game in which you know every observation, and compare the columns of a row "
        "with what happened.",
    ),
    "truncation": Defect(
        changes=(
            ("(*s_a_r_s, terminated, truncated, episode)", "(*s_a_r_s, ended, False, episode)"),
        ),
        where=_STORED,
        idea="how can an episode end? Test every way.",
    ),
    "shared-agent": Defect(
        changes=((_REPEATS + _NEW_AGENT, _NEW_AGENT[4:] + _REPEATS),),
        where="in `repeats`",
        idea="what must two repeats have in common, and what not? Your own agent can tell what it "
        "has seen.",
    ),
    "lost-sign": Defect(
        changes=(("{angle:.3f} rad.", "{abs(angle):.3f} rad."),),
        where="in the text that the model gets",
        idea="what could a model not know from the text alone? Compare texts of pairs of states.",
    ),
    "last-digit": Defect(
        changes=(
            (
                'last = reply.rstrip().rpartition("\\n")[2].strip()',
                'digits = re.findall(r"[01]", reply)',
            ),
            ('    match = re.fullmatch(r"Action: ?([01])", last)\n', ""),
            ("int(match[1]) if match else None", "int(digits[-1]) if digits else None"),
        ),
        where="in how replies are read",
        idea="write down ten replies that a talkative model might give, and what each should mean.",
    ),
    "same-start": Defect(
        changes=(("env.reset(seed=seed + episode)", "env.reset(seed=seed)"),),
        where="in how `collect` starts its episodes",
        idea="what differs from one episode to the next?",
    ),
    "fixed-fallback": Defect(
        changes=(("action = int(rng.integers(len(ACTIONS)))", "action = 0"),),
        where="in what happens if a reply names no action",
        idea="let a model say nothing for a while, and look at the actions.",
    ),
    "offline-only": Defect(
        changes=((_UPDATE + "        encoded = next_encoded", "        encoded = next_encoded"),),
        where="in `learn`",
        idea="count what the agent is asked to do.",
    ),
}
REAL = ("misaligned", "truncation", "shared-agent", "lost-sign", "last-digit")


def warmstart(defects: tuple[str, ...] = ()) -> str:
    """Return warmstart.py with these defects in it."""
    source = (Path(__file__).parent / "warmstart.py").read_text(encoding="utf-8")
    for name in defects:
        for right, wrong in DEFECTS[name].changes:
            source = changed(source, right, wrong)
    return source
