"""The defects of LORO's official code. Run `python tutorials/studies/defects.py [DATA]`.

They are shown on the published files where the files allow it. DATA is a folder with `original/`
(pickles of github.com/duongnhatthang/LlamaGym, folder data/) and `qwen2.5-7b/` (cartpole,
cliffwalking and pendulum, converted by ../recipes/published_rollouts.py). Nothing in the pickles is
executed. The numbers of the defects are those of findings.md.
"""

import re
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "recipes"))
from published_rollouts import InertUnpickler, as_stored, plain_array, read, realigned

import minloro
from minloro.bench.statistics import interval
from minloro.errors import UserError
from minloro.rollout import unreproduced
from minloro.transitions import load_transitions

# The sum of the evaluation curve in each of the five "repeats" of LORO (7B, 3000 updates), as
# published.
PUBLISHED_REPEATS = {
    "cartpole": (25853, 27013, 25132, 27826, 27856),
    "cliffwalking": (-5393, -2470, -2470, -2470, -2470),
    "pendulum": (-179783, -147273, -146122, -145843, -146018),
}
ONLINE_STEPS = 2_000  # of a repeat here


def show(number: int, title: str, *lines: str) -> None:
    """Print one defect."""
    print(f"\n{number}. {title}")
    for line in lines:
        print(f"   {line}")


def interval_text(values) -> str:
    """Return a mean and its 95% interval."""
    found = interval(values)
    return f"{found['mean']:.1f} [{found['low']:.1f}, {found['high']:.1f}]"


def listed(sums) -> str:
    """Return numbers as text, without their decimals."""
    return ", ".join(f"{value:,.0f}" for value in sums)


def misaligned(files: dict[str, Path]) -> None:
    """Show defect 1."""
    lines = []
    for name, path in files.items():
        task = minloro.make_task(name)
        episodes = read(path, task)
        stored = 1 - unreproduced(task, as_stored(task, episodes)).mean()
        right = 1 - unreproduced(task, realigned(task, episodes)).mean()
        lines.append(
            f"{name}: the simulator confirms {stored:.0%} of the rows as stored, "
            f"{right:.0%} once a_t stands beside s_t"
        )
    show(1, "Rows pair an action with the observation after it", *lines)


def published_sum(name: str, path: Path) -> str:
    """Return how the published sum of LORO is made: its repeats' mean and ten rounds of the LLM."""
    sums = PUBLISHED_REPEATS[name]
    task = minloro.make_task(name)
    llm = np.mean([rewards.sum() for _, _, rewards in read(path, task)])
    of_five = np.mean(sums) + 10 * llm
    of_first = sums[0] + 10 * llm
    return (
        f"{name}: mean of the five + 10 x {llm:.1f}, the LLM's mean return, = {of_five:,.0f} "
        f"(published {task.paper.loro:,}); the first alone: {of_first:,.0f}"
    )


def shared_agent(data_folder: Path, files: dict[str, Path]) -> None:
    """Show defect 2."""
    task = minloro.make_task("cliffwalking")
    path = data_folder / "qwen2.5-7b" / "cliffwalking.npz"
    data = load_transitions(path, task).first_episodes(10)

    def pretrained(seed):
        agent = task.make_agent(seed)
        minloro.pretrain(agent, data, task.updates, seed)
        return agent

    def repeat(agent, seed):
        """Return the sum of the evaluations of one repeat."""
        returns = minloro.finetune(agent, task, len(data) + ONLINE_STEPS, data, seed)
        return sum(row.episode_return for row in returns if row.phase == "eval")

    one = pretrained(0)
    shared = [repeat(one, seed) for seed in range(5)]
    own = [repeat(pretrained(seed), seed) for seed in range(5)]
    published = [f"published, {name}: {listed(sums)}" for name, sums in PUBLISHED_REPEATS.items()]
    made = [published_sum(name, path) for name, path in files.items() if name in PUBLISHED_REPEATS]
    here = f"here, cliffwalking, {ONLINE_STEPS:,} online steps"
    show(
        2,
        "All repeats of LORO go on with one agent, so only the first of them is a repeat of LORO",
        *published,
        *made,
        f"{here}, one agent for all: {listed(shared)}",
        f"{here}, one agent for each: {listed(own)}",
    )


def truncation(files: dict[str, Path]) -> None:
    """Show defect 3."""
    lines = []
    for name, path in files.items():
        task = minloro.make_task(name)
        with open(path, "rb") as file:
            episodes = InertUnpickler(file).load().state["_buffer"].state["_episodes"]
        stored = np.array([bool(episode.state["terminated"]) for episode in episodes])
        data = realigned(task, read(path, task))
        last_rows = np.cumsum(data.episode_lengths) - 1
        cut_off = stored & ~data.terminated[last_rows]
        longest = max(len(plain_array(episode.state["rewards"])) for episode in episodes)
        lines.append(
            f"{name}: {cut_off.sum()} of {stored.sum()} episodes stored as terminated were cut "
            f"off; the longest has {longest} steps"
        )
    show(3, "The step limit is stored as a termination, which ends bootstrapping", *lines)


def lengths(data_folder: Path) -> None:
    """Show defect 4."""
    task = minloro.make_task("pendulum")
    qwen = load_transitions(data_folder / "qwen2.5-7b" / "pendulum.npz", task)
    steps = int(qwen.episode_lengths.max())
    random = [
        minloro.collect_random(task, 10 * steps, seed, steps).episode_returns.mean()
        for seed in range(30)
    ]
    qwen_returns = interval_text(qwen.episode_returns)
    show(
        4,
        "The LLM's Pendulum episodes have 50 steps and are compared with episodes of 200",
        f"Qwen2.5-7B in {steps} recorded steps: {qwen_returns} (30 episodes)",
        f"a random policy in {steps} steps: {interval_text(random)} (30 seeds of 10 episodes)",
        "paper, sum over 200 rounds: the LLM alone -61,966, random -239,783: "
        "four times the length, nearly four times the loss",
    )


def hidden_sign(data_folder: Path) -> None:
    """Show defect 5."""
    path = data_folder / "qwen2.5-7b" / "cartpole.npz"
    data = load_transitions(path, minloro.make_task("cartpole"))
    angles = data.observations[:, 2]
    pushes_right = data.actions == 1
    leaning_right = pushes_right[angles > 0].mean()
    leaning_left = pushes_right[angles < 0].mean()
    show(
        5,
        "The CartPole prompt gives the absolute value of the pole's angle",
        f"Qwen2.5-7B pushes to the right in {leaning_right:.0%} of the states that lean to the "
        f"right, in {leaning_left:.0%} of those that lean to the left",
    )


def last_digit(reply: str) -> int | None:
    """Return what the official parser reads: the last digit."""
    digits = re.findall(r"\d", reply)
    return int(digits[-1]) if digits else None


def parsing() -> None:
    """Show defect 6."""
    replies = (
        "The pole leans 0.21 rad to the left.\nAction: 1, at 0.21 rad",
        "Left",
        "I am not sure.",
    )
    prompt = minloro.make_task("cartpole").prompt
    lines = [
        f"{reply!r}: last digit {last_digit(reply)}, minloro {prompt.parse(reply)}"
        for reply in replies
    ]
    show(
        6,
        "The last digit anywhere in a reply is the action; a reply without one silently becomes "
        "one fixed action",
        *lines,
        "minloro's None: the model is asked again, then a random action is taken and marked",
    )


def bands() -> None:
    """Show defect 8."""
    rng = np.random.default_rng(0)
    runs = rng.normal(size=(20_000, 5))
    shared = runs[:, :1] + 0.1 * runs  # five curves that go on from one agent
    show(
        8,
        "Bands of one standard deviation / sqrt(5) over five dependent runs",
        f"over five independent normal runs such a band holds the true mean in "
        f"{share_held(runs):.0%} of cases, not in 95%",
        f"over five runs that share most of their luck, in {share_held(shared):.0%}",
    )


def share_held(runs: np.ndarray) -> float:
    """Return how often a band of one standard error holds the true mean, 0. runs: (N, 5)."""
    half = runs.std(axis=1) / np.sqrt(5)
    return np.mean(np.abs(runs.mean(axis=1)) <= half)


def main(argv: list[str]) -> int:
    """Show all defects; return the exit status."""
    data_folder = Path(argv[0]) if argv else Path("../shared/data")
    pickles = {}
    for path in sorted((data_folder / "original").glob("*.pkl")):
        pickles[path.name.partition("_")[0].lower()] = path
    if not pickles or not (data_folder / "qwen2.5-7b").is_dir():
        print(
            f"error: {data_folder} has no original/*.pkl and qwen2.5-7b/: "
            "give the folder of the published data",
            file=sys.stderr,
        )
        return 2
    try:
        misaligned(pickles)
        shared_agent(data_folder, pickles)
        truncation(pickles)
        lengths(data_folder)
        hidden_sign(data_folder)
        parsing()
        title = "Pong applies every action twice and always resets with seed 0"
        show(7, title, "not shown: no Pong file is among these")
        bands()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
