# %% [markdown]
# # 8. Your own environment and your own model
#
# **Question.** What has to be written to try a warm start on a problem of your own?
#
# You need an environment (Gymnasium's two methods), a prompt, a task that ties them together, and
# somebody who answers. Our problem: keep a cold room at 20 °C with a heater that is switched on and
# off, and that warms up and cools down slowly.

# %%
import re
from pathlib import Path

import gymnasium
import matplotlib.pyplot as plt
import numpy as np
from gymnasium.utils.env_checker import check_env

import minloro
from minloro import Job
from minloro.bench import report, sweep
from minloro.bench.plot import learning_curves
from minloro.bench.text import format_interval
from minloro.llm.model import Reply
from minloro.rollout import unreproduced


class Room(gymnasium.Env):
    """A room with a heater.

    Observation: temperatures of room and heater, °C. Action: 0 off, 1 on. Reward: minus the
    distance from 20 °C.
    """

    observation_space = gymnasium.spaces.Box(np.float32([0, 0]), np.float32([60, 60]))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)  # seeds self.np_random, the only source of chance
        self.state = np.full(2, self.np_random.uniform(8, 16), np.float32)
        return self.state, {}

    def step(self, action):
        room, heater = self.state.tolist()
        heater += 0.2 * ((60 if action == 1 else room) - heater)
        room += 0.1 * (heater - room) + 0.05 * (5 - room)  # it is 5 °C outside
        self.state = np.array([room, heater], np.float32)
        # It never terminates; the task's step limit truncates it.
        return self.state, -abs(room - 20), False, False, {}


# %% [markdown]
# ## The prompt, the rule, the task
#
# The prompt says everything that a player needs, units and signs included. `rule` is what the
# stand-in follows: it reads the same text and returns the number of an action, counted from 1. With
# `set_state` the simulator can check recorded rows. The agent's settings were chosen by looking at
# `rl` alone, never at the difference that we want to measure.


# %%
def describe(observation, rows):
    """Say what the player sees."""
    return f"The room has {observation[0]:.2f} °C, the heater {observation[1]:.2f} °C."


def rule(text):
    """Switch the heater on if the room is too cold."""
    room = float(re.search(r"room has ([0-9.]+)", text)[1])
    return 2 if room < 20 else 1


def make_agent(rng):
    """Return an untrained agent. `rng` is for agents whose first weights are random."""
    features = minloro.RadialBasis(low=[5, 5], high=[30, 60], per_dimension=10, width=0.7)
    return minloro.LinearQ(
        features, n_actions=2, step_size=0.3, target_step_size=0.02, discount=0.9
    )


def set_state(env, observation):
    """Put the environment into the state of an observation."""
    env.state = np.array(observation)


rules = (
    "You switch the heater of a room that should have 20 °C. Outside it is 5 °C. The heater warms "
    "up to 60 °C, slowly, and cools down slowly. Reward of a step: minus the distance of the room "
    "from 20 °C. The episode ends after 100 steps."
)
task = minloro.Task(
    name="room",
    environment="Room",
    env_factory=Room,
    step_limit=100,
    agent=make_agent,
    steps=3_000,
    threshold=-60,
    return_range=(-4_000, 0),  # the room is never more than 40 degrees away from 20 °C
    prompt=minloro.Prompt(rules, ("switch the heater off", "switch the heater on"), describe),
    stand_in_rule=rule,
    set_state=set_state,
)

# %% [markdown]
# ## Your own model
#
# Whatever has `source`, `settings`, `request` and `complete` can play. For a model behind an
# address there is `minloro.ChatClient("http://localhost:11434/v1", "qwen2.5:7b")`. A model in this
# process is asked in `complete`, for instance with
# `pipeline(messages)[0]["generated_text"][-1]["content"]` (a text-generation pipeline of Hugging
# Face's transformers). Here an f-string answers.


# %%
class MyModel:
    """A model that follows the rule and says so."""

    source = "an f-string"
    settings = {}

    def request(self, messages):
        """Return what the transcript's key is made of."""
        return {"model": self.source, "messages": messages}

    def complete(self, messages, sample):
        """Answer. `sample` tells several answers to the same question apart."""
        text = f"I look at the room only.\nAction: {rule(messages[-1]['content'])}"
        return Reply(text, model=self.source)


check_env(Room(), skip_render_check=True)  # Gymnasium's own tests
data = minloro.collect(task, MyModel())
unread = data.metadata["llm"]["parse_failures"]
wrong = unreproduced(task, data).sum()
print(f"D: mean return {data.episode_returns.mean():.1f}")
print(f"{unread} replies without an action, {wrong} rows contradicted")


# %%
def compare(task, seeds=10):
    """Run rl, loro and the control; return {(arm, seed): episodes} and the summary.

    Each seed has its own D.
    """
    data = {}
    jobs = []
    for seed in range(seeds):
        player = minloro.StandInLLM(task, seed=seed)
        data[seed] = minloro.collect(task, player, episodes=5, seed=seed)
        for arm in ("rl", "loro", "random-data"):
            jobs.append(Job(task, arm, seed, task.steps, data=data[seed]))
    returns = {(job.arm, job.seed): episodes for job, (episodes, _) in sweep.run(jobs)}
    return returns, report.summarize(task, task.steps, returns, data)


returns, summary = compare(task)
for arm, metrics in summary["arms"].items():
    first = format_interval(metrics["first_return"], 10)
    last = format_interval(metrics["final_return"], 10)
    print(f"{arm}: first {first}, last 10 {last}")
for pair, metrics in summary["difference"].items():
    result = metrics["online_mean_return"]
    print(f"{pair}, equal online steps: {format_interval(result, 0)}, {result['verdict']}")

# %%
figure, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
data = summary["data"]
learning_curves(
    ax, returns, data["transitions"], data["mean_return"], return_range=task.return_range
)
ax.set(ylim=(-500, 0), title="room: D is the stand-in's")
folder = Path(globals().get("__file__", "")).parent / "figures"  # beside this script or notebook
folder.mkdir(exist_ok=True)
figure.savefig(folder / "8_your_own.png", dpi=90)

# %% [markdown]
# From scratch the agent needs 200 to 400 steps. D alone takes 500: nothing is left for a warm start
# to win. That is a result, too. The agent ends better than its teacher, who looks at the room only
# and always switches too late.
#
# ## What could mislead you
#
# - **The first evaluation.** Pretrained agents begin badly here. D holds temperatures near 20 °C,
#   and rewards are below 0, so everything that D does not hold looks attractive. Look at the whole
#   curve, and at equal steps.
# - **What cannot be pickled.** If seeds are to run in several processes, everything in the task
#   must be importable: no lambdas.
#
# ## Exercises
#
# 1. How good is the rule alone?
#    Check: `minloro.collect(task, minloro.StandInLLM(task, skill=1.0), 100).cost / 100` gives
#    -75.9.
# 2. Write a rule that looks ahead: the heater is on while room + 0.2 (heater - room) is below 21.
#    Check: alone it gets -49.0.
# 3. After how many steps do ten evaluations in a row reach -60 on average, from scratch, and with
#    D? Check: `summary["arms"]["rl"]["steps_to_threshold"]["mean"]` gives 220.
