# %% [markdown]
# # 3. Playing through text
#
# **Question.** How does a language model play a game, and what can go wrong between the text and
# the action?
#
# Every step goes observation -> prompt -> reply -> parser -> action. No model is asked here. A
# scripted stand-in reads the same prompts and answers in the same form. What goes wrong with the
# stand-in goes wrong with a model too, and here it can be counted exactly.

# %%
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minloro
from minloro.bench.statistics import interval
from minloro.llm.prompt import Prompt
from minloro.randomness import stream

task = minloro.make_task("cartpole")
# Position, velocity, angle, angular velocity.
observation = np.array([0.0, 0.35, -0.0312, -0.41])
system, user = task.prompt.messages(observation, rows=[])
print(system["content"].splitlines()[-2], "---", user["content"], "---", sep="\n")
stand_in = minloro.StandInLLM(task, skill=1.0)
print("reply:", stand_in.complete([system, user], sample=(0,)).text)

# %% [markdown]
# The rule of the stand-in is: push towards the lean. With probability `skill` it follows the rule.
# Otherwise it answers at random.
#
# ## A sign that gets lost
#
# In the prompt of the paper's official code the angle of the pole is an absolute value. We give the
# stand-in the same prompt. Without the sign every lean looks like a lean to the right.


# %%
def hide_the_sign(observation, rows):
    """Describe the state as usual, but with the absolute value of the angle."""
    text = task.prompt.describe(observation, rows)
    return re.sub("Pole angle: .*", f"Pole angle: {abs(observation[2]):.4f} rad", text)


def push_towards_the_lean(text):
    """Return the number of the action, counted from 1, that the rule takes."""
    angle = float(re.search(r"Pole angle: (\S+)", text)[1])
    return 2 if angle > 0 else 1


def played(task, llm):
    """Play 100 episodes; return D."""
    return minloro.collect(task, llm, episodes=100)


hidden = replace(
    task,
    prompt=replace(task.prompt, describe=hide_the_sign),
    stand_in_rule=push_towards_the_lean,
)
players = {
    "the rule, sign in the prompt": (task, stand_in),
    "the rule, sign hidden": (hidden, minloro.StandInLLM(hidden, skill=1.0)),
    "random actions": (task, minloro.StandInLLM(task, skill=0.0)),
}
returns = {name: played(*player).episode_returns for name, player in players.items()}

# %% [markdown]
# ## A reply that gets misread
#
# Models do not always answer in the form that they were asked for. Our talkative player explains
# itself behind the action in 30% of its replies, and says nothing useful in 10%. Two parsers read
# its replies:
#
# - **strict**: only a last line `Action: N` is an action. If a reply has no such line, the model is
#   asked once more, with a reminder. If that fails too, a random action takes its place and is
#   marked `fallback` in D.
# - **last digit**, as in the official code: the last digit anywhere in the reply is the action. If
#   a reply names no action, one fixed action takes its place, silently.


# %%
class Talkative(minloro.StandInLLM):
    """A stand-in that often does not keep to the form of an answer."""

    def complete(self, messages, sample):
        reply = super().complete(messages, sample)
        luck = stream(self.seed, "talk", *sample).random()
        if luck < 0.1:
            return replace(reply, text="I am not sure.")
        if luck < 0.4:
            angle = re.search(r"Pole angle: (\S+)", messages[1]["content"])[1]
            return replace(reply, text=f"{reply.text}, because the pole is at {angle} rad.")
        return reply


class LastDigitPrompt(Prompt):
    """A prompt whose parser takes the last digit of a reply for the action."""

    def parse(self, reply):
        digits = re.findall(r"\d", reply)
        if digits and digits[-1] in "12":
            return int(digits[-1]) - 1
        return 0


loose = replace(task, prompt=LastDigitPrompt(**vars(task.prompt)))
for text in ("Action: 2", "Action: 1, because the pole is at -0.0312 rad.", "I am not sure."):
    print(f"{text!r}: strict {task.prompt.parse(text)}, last digit {loose.prompt.parse(text)}")
data = {
    "strict": played(task, Talkative(task, skill=1.0)),
    "last digit": played(loose, Talkative(loose, skill=1.0)),
}
for name, d in data.items():
    returns[f"the rule, talkative, {name} parser"] = d.episode_returns


def as_meant(d):
    """Return the share of actions in D that are what the rule says."""
    leans_to_the_right = d.observations[:, 2] >= 0
    return np.mean(d.actions == leans_to_the_right)


for name, d in data.items():
    sources = sorted(Counter(d.source.tolist()).items())
    shares = ", ".join(f"{source} {n / len(d):.3f}" for source, n in sources)
    print(f"{name}: {as_meant(d):.3f} of the actions are what the player meant; {shares}")
for name, values in returns.items():
    band = interval(values)
    shown = f"{band['mean']:.1f} [{band['low']:.1f}, {band['high']:.1f}]"
    print(f"{name}: mean return {shown}, 100 episodes")

# %%
figure, ax = plt.subplots(figsize=(8, 3), layout="constrained")
for row, (name, values) in enumerate(returns.items()):
    band = interval(values)
    error = [[band["mean"] - band["low"]], [band["high"] - band["mean"]]]
    colour = "#D55E00" if "random" in name else "#0072B2"
    ax.errorbar(band["mean"], row, xerr=error, fmt="o", capsize=4, color=colour)
ax.set_yticks(range(len(returns)), list(returns))
ax.set_xlabel("mean return of 100 episodes of CartPole, 95% interval")
ax.set(xlim=(0, None), ylim=(len(returns) - 0.5, -0.5))
ax.grid(axis="x", color="0.9")
folder = Path(globals().get("__file__", "")).parent / "figures"  # beside this script or notebook
folder.mkdir(exist_ok=True)
figure.savefig(folder / "3_playing_through_text.png", dpi=90)

# %% [markdown]
# It is always the same player with the same rule. Without the sign it is worse than random actions.
# With the loose parser a quarter of its actions are not what it meant. Nothing crashes, and no
# number looks strange. You would conclude that the model plays badly.
#
# ## What could mislead you
#
# - **The return as a test of the parser.** This rule rocks the pole ever faster, and random actions
#   disturb that. With three random actions in ten its return *rises* from 40.5 to 47.5. So the
#   fallbacks of a strict parser may even help. Count how actions came about (`source`) instead.
#   Check: `played(task, minloro.StandInLLM(task)).episode_returns.mean()` gives 47.45.
# - **Models guess.** A model that sees abs(angle) and a signed angular velocity may still do better
#   than our rule.
# - **A stand-in is not a model.** It shows how text becomes actions. It does not show what a model
#   would answer.
#
# ## Exercises
#
# 1. Which action do these replies name?
#    Check: `task.prompt.parse("**Action: 2**")` gives None.
#    Check: `task.prompt.parse("It leans to the left.\nAction: 1\n\n")` gives 0.
# 2. Replies are unreadable with probability 0.4, each time anew. What share of actions should be
#    fallbacks?
#    Check: `np.mean(data["strict"].source == "fallback")` gives 0.155, about 0.4 · 0.4.
# 3. Write a rule (text to 1 or 2) that adds the angle and the pole's angular velocity and pushes
#    towards the side of the sum. Put it into `replace(task, stand_in_rule=...)`.
#    Check: at skill 1 its mean return over 100 episodes is 200.0.
#
# A real model needs three commands. They work with any server that has an OpenAI-compatible
# address; here it is Ollama on your own machine:
#
#     ollama pull qwen2.5:7b
#     python -m minloro doctor --llm-url http://localhost:11434/v1 --llm-model qwen2.5:7b
#     python -m minloro cartpole --out runs/qwen \
#         --llm-url http://localhost:11434/v1 --llm-model qwen2.5:7b
