"""A warm start on CartPole, in one file.

A language model plays through text. Agents learn from what it did and go on online.

    describe, parse       from an observation to text, from a reply to an action
    collect               the model plays; its transitions are the data set D
    learn                 one agent: pretrained on D, then online
    repeats               the whole experiment several times, for an average

Every sentence in a docstring is a promise. `python warmstart.py` runs it all with a scripted
stand-in for the model.

An environment is anything with Gymnasium's `reset(seed=…)` and `step(action)`. Its observations are
CartPole's four numbers, its actions are 0 and 1. A model is any function from a text to a text. An
agent is anything with minloro's `encode(observations)`, `act(encoded, rng)`, `update(batch, rng)`
and `batch_size`.
"""

import re

import numpy as np

import minloro
from minloro.replay import ReplayBuffer

ACTIONS = ("push to the left", "push to the right")


def describe(observation) -> str:
    """Say in words what the model is to know: all four numbers, rounded to three digits.

    Positions, speeds and angles are positive to the right. If two observations differ in one of
    their rounded numbers, their texts differ.
    """
    position, velocity, angle, turning = (float(value) for value in observation)
    return (
        "You are balancing a pole on a cart. All numbers are positive to the right.\n"
        f"Cart position: {position:.3f} m. Cart velocity: {velocity:.3f} m/s.\n"
        f"Pole angle: {angle:.3f} rad. Pole angular velocity: {turning:.3f} rad/s.\n"
        f"Actions: 0, {ACTIONS[0]}; 1, {ACTIONS[1]}.\n"
        "Think, and end with one line of exactly this form: Action: N"
    )


def parse(reply: str) -> int | None:
    """Return the action that the last line of a reply names, as `Action: 0` or `Action: 1`.

    Returns None if it names none. Blank lines at the end do not count. Numbers anywhere else in a
    reply are no actions.
    """
    last = reply.rstrip().rpartition("\n")[2].strip()
    match = re.fullmatch(r"Action: ?([01])", last)
    return int(match[1]) if match else None


def collect(env, ask, episodes: int, seed: int = 0) -> minloro.Transitions:
    """Let the model `ask` play and return its transitions, in the order in which they were played.

    A row holds one step: the observation that the model saw, the action that it chose there, and
    the reward and the next observation that this action led to. `terminated` and `truncated` are
    stored as the environment gives them; an episode ends with either. If a reply names no action, a
    uniformly random one takes its place. Episode k starts from `env.reset(seed=seed + k)`, and
    `episode` is k on all of its rows.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for episode in range(episodes):
        observation, _ = env.reset(seed=seed + episode)
        ended = False
        while not ended:
            action = parse(ask(describe(observation)))
            if action is None:
                action = int(rng.integers(len(ACTIONS)))
            next_observation, reward, terminated, truncated, _ = env.step(action)
            ended = terminated or truncated
            s_a_r_s = (observation, action, reward, next_observation)
            rows.append((*s_a_r_s, terminated, truncated, episode))
            observation = next_observation
    return minloro.Transitions(*(np.array(column) for column in zip(*rows, strict=True)))


def learn(agent, env, data: minloro.Transitions, updates: int, steps: int, seed: int) -> np.ndarray:
    """Pretrain `agent` on D and let it go on for `steps` steps in `env`.

    Returns the returns of its finished online episodes. Pretraining takes `updates` updates on
    minibatches that are drawn uniformly from all rows of D. Online, every step is followed by one
    update on a minibatch from D and all online steps so far. The agent is changed in place.
    """
    rng = np.random.default_rng(seed)
    buffer = ReplayBuffer(len(data) + steps, agent.encode(data.observations[0]), data.actions[0])
    buffer.hold(data, agent.encode)
    for _ in range(updates):
        agent.update(buffer.sample(agent.batch_size, rng), rng)
    returns = []
    episode = 0
    episode_return = 0.0
    observation, _ = env.reset(seed=seed)
    encoded = agent.encode(observation)
    for _ in range(steps):
        action = agent.act(encoded, rng)
        observation, reward, terminated, truncated, _ = env.step(action)
        next_encoded = agent.encode(observation)
        buffer.add(encoded, action, reward, next_encoded, terminated)
        agent.update(buffer.sample(agent.batch_size, rng), rng)
        encoded = next_encoded
        episode_return += reward
        if terminated or truncated:
            returns.append(episode_return)
            episode += 1
            episode_return = 0.0
            observation, _ = env.reset(seed=seed + 1000 * episode)
            encoded = agent.encode(observation)
    return np.array(returns)


def repeats(
    make_agent, env, data: minloro.Transitions, n: int, updates: int = 500, steps: int = 1000
) -> list[np.ndarray]:
    """Repeat the warm start n times and return what `learn` returns, one entry per repeat.

    The repeats are independent. Each has a fresh agent from `make_agent()`, which has seen nothing
    of the others, and the number of the repeat as its seed.
    """
    results = []
    for repeat in range(n):
        agent = make_agent()
        results.append(learn(agent, env, data, updates, steps, seed=repeat))
    return results


def stand_in(text: str) -> str:
    """Answer like a mediocre model: push to where the pole leans, after some talk."""
    angle = float(re.search(r"Pole angle: (\S+) rad", text)[1])
    return f"The pole leans by {angle:.2f} rad.\nAction: {int(angle > 0)}"


if __name__ == "__main__":
    task = minloro.make_task("cartpole")
    rollouts = collect(task.make_env(), stand_in, episodes=10)
    mean_return = rollouts.episode_returns.mean()
    print(f"the model's mean return: {mean_return:.1f}, {len(rollouts)} transitions")
    for repeat, found in enumerate(repeats(task.make_agent, task.make_env(), rollouts, n=3)):
        print(f"repeat {repeat}: {len(found)} online episodes, mean return {found.mean():.1f}")
