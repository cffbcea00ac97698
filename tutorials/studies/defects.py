"""The defects of LORO's official code, shown on its published files where they allow it: `python tutorials/defects.py [DATA]`.

DATA is a folder with `original/` (pickles of github.com/duongnhatthang/LlamaGym, folder data/) and `qwen2.5-7b/` (cartpole,
cliffwalking and pendulum, converted by published_rollouts.py). Nothing in the pickles is executed. The numbering is that of
findings.md.
"""

import re
import sys
from pathlib import Path

import numpy as np
from published_rollouts import InertUnpickler, as_stored, plain_array, read, realigned

import minloro
from minloro.errors import UserError
from minloro.llm.prompts import cartpole_prompt
from minloro.report import interval
from minloro.rollout import unreproduced
from minloro.transitions import load_transitions

# Sum of the evaluation curve in each of the five "repeats" of LORO (7B, 3000 updates), as published.
PUBLISHED_REPEATS = {
    "cartpole": (25853, 27013, 25132, 27826, 27856),
    "cliffwalking": (-5393, -2470, -2470, -2470, -2470),
    "pendulum": (-179783, -147273, -146122, -145843, -146018),
}


def show(number: int, title: str, *lines: str) -> None:
    print(f"\n{number}. {title}")
    for line in lines:
        print(f"   {line}")


def named(figure: dict) -> str:
    return f"{figure['mean']:.1f} [{figure['low']:.1f}, {figure['high']:.1f}]"


def misaligned(files: dict) -> None:
    lines = []
    for name, path in files.items():
        task = minloro.make_task(name)
        episodes = read(path, task)
        right = [f"{1 - unreproduced(task, rows(task, episodes)).mean():.0%}" for rows in (as_stored, realigned)]
        lines.append(f"{name}: the simulator confirms {right[0]} of the rows as stored, {right[1]} once a_t stands beside s_t")
    show(1, "Rows pair an action with the observation after it", *lines)


def published_sum(name: str, path: Path) -> str:
    """Return how the published sum of LORO comes about: the mean of its repeats, and ten rounds at the LLM's mean."""
    sums, task = PUBLISHED_REPEATS[name], minloro.make_task(name)
    llm = np.mean([rewards.sum() for _, _, rewards in read(path, task)])
    of_five, first = np.mean(sums) + 10 * llm, sums[0] + 10 * llm
    published = f"the LLM's mean return, = {of_five:,.0f} (published {task.paper['loro']:,})"
    return f"{name}: mean of the five + 10 x {llm:.1f}, {published}; the first alone: {first:,.0f}"


def shared_agent(data: Path, files: dict) -> None:
    task = minloro.make_task("cliffwalking")
    d = load_transitions(data / "qwen2.5-7b" / "cliffwalking.npz", task).first_episodes(10)

    def repeat(agent, seed):
        """The sum of the evaluations of one repeat."""
        returns = minloro.finetune(agent, task, len(d) + 2_000, d, seed)
        return sum(row.episode_return for row in returns if row.phase == "eval")

    def pretrained(seed):
        agent = task.make_agent(seed)
        minloro.pretrain(agent, d, task.updates, seed)
        return agent

    one = pretrained(0)
    shared = [repeat(one, seed) for seed in range(5)]
    own = [repeat(pretrained(seed), seed) for seed in range(5)]
    show(
        2, "All repeats of LORO go on with one agent, so that only the first of them is a repeat of LORO",
        *(f"published, {name}: {', '.join(f'{s:,}' for s in sums)}" for name, sums in PUBLISHED_REPEATS.items()),
        *(published_sum(name, path) for name, path in files.items() if name in PUBLISHED_REPEATS),
        f"here, cliffwalking, 2,000 online steps, one agent for all: {', '.join(f'{s:,.0f}' for s in shared)}",
        f"here, an agent of its own for each:                      {', '.join(f'{s:,.0f}' for s in own)}",
    )  # fmt: skip


def truncation(files: dict) -> None:
    lines = []
    for name, path in files.items():
        task = minloro.make_task(name)
        with open(path, "rb") as file:
            episodes = InertUnpickler(file).load().state["_buffer"].state["_episodes"]
        stored = [bool(episode.state["terminated"]) for episode in episodes]
        data = realigned(task, read(path, task))
        ends = data.terminated[np.cumsum(data.episode_lengths) - 1]
        wrong = int(np.sum(np.array(stored) & ~ends))
        longest = max(len(plain_array(episode.state["rewards"])) for episode in episodes)
        lines.append(
            f"{name}: {wrong} of {sum(stored)} episodes stored as terminated were cut off; the longest has {longest} steps"
        )
    show(3, "The step limit is stored as a termination, which ends bootstrapping", *lines)


def lengths(data: Path) -> None:
    task = minloro.make_task("pendulum")
    qwen = load_transitions(data / "qwen2.5-7b" / "pendulum.npz", task)
    steps = int(qwen.episode_lengths.max())
    random = [minloro.collect_random(task, 10 * steps, seed, steps).episode_returns.mean() for seed in range(30)]
    show(
        4, "The LLM's Pendulum episodes have 50 steps and are compared with episodes of 200",
        f"Qwen2.5-7B in {steps} recorded steps: {named(interval(qwen.episode_returns))} (30 episodes)",
        f"a uniformly random policy in {steps}:     {named(interval(random))} (30 seeds of 10 episodes)",
        "paper, sum over 200 rounds: the LLM alone -61,966, random -239,783: four times the length, nearly four times the loss",
    )  # fmt: skip


def hidden_sign(data: Path) -> None:
    d = load_transitions(data / "qwen2.5-7b" / "cartpole.npz", minloro.make_task("cartpole"))
    right = [np.mean(d.actions[side] == 1) for side in (d.observations[:, 2] > 0, d.observations[:, 2] < 0)]
    show(
        5, "The CartPole prompt gives the absolute value of the pole's angle",
        f"Qwen2.5-7B pushes to the right in {right[0]:.0%} of the states that lean to it, in {right[1]:.0%} of the others",
    )  # fmt: skip


def parsing() -> None:
    replies = ("The pole leans 0.21 rad to the left.\nAction: 1, at 0.21 rad", "Left", "I am not sure.")
    parse = cartpole_prompt(200).parse

    def last_digit(reply):
        digits = re.findall(r"\d", reply)
        return int(digits[-1]) if digits else None

    show(
        6, "The last digit anywhere in a reply is the action, and what holds none silently becomes one fixed action",
        *(f"{reply!r}: last digit {last_digit(reply)}, minloro {parse(reply)} (None: asked again, then random and marked)"
          for reply in replies),
    )  # fmt: skip


def bands() -> None:
    rng = np.random.default_rng(0)
    runs = rng.normal(size=(20_000, 5))
    error = runs.std(axis=1) / np.sqrt(5)
    within = np.mean(np.abs(runs.mean(axis=1)) <= error)
    shared = runs[:, :1] + 0.1 * runs  # five curves that go on from one agent
    dependent = np.mean(np.abs(shared.mean(axis=1)) <= shared.std(axis=1) / np.sqrt(5))
    show(
        8, "Bands of one standard deviation / sqrt(5) over five dependent runs",
        f"over five independent normal runs such a band holds the true mean in {within:.0%} of cases, not in 95%",
        f"over five runs that share most of their luck, in {dependent:.0%}",
    )  # fmt: skip


def main(argv: list[str]) -> int:
    data = Path(argv[0]) if argv else Path("../shared/data")
    pickles = {path.name.partition("_")[0].lower(): path for path in sorted((data / "original").glob("*.pkl"))}
    if not pickles or not (data / "qwen2.5-7b").is_dir():
        print(f"error: {data} has no original/*.pkl and qwen2.5-7b/: give the folder of the published data", file=sys.stderr)
        return 2
    try:
        misaligned(pickles)
        shared_agent(data, pickles)
        truncation(pickles)
        lengths(data)
        hidden_sign(data)
        parsing()
        show(7, "Pong applies every action twice and always resets with seed 0", "not shown: no Pong file is among these")
        bands()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
