"""The best agents: they take the place of the optimum in tasks that have no transition table.

`python tutorials/studies/best_agents.py` prints how good they are. coverage.py and skill_study.py
use them.
"""

import os

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before NumPy is loaded

import numpy as np

import minloro
from minloro.coverage import occupancy, optimal_policy, visits
from minloro.randomness import stream_seed
from minloro.rollout import play_episode
from minloro.transitions import from_rows

# Without pong, whose states have no cells.
TASKS = tuple(name for name in minloro.TASK_NAMES if name != "pong")

COMPARED_EPISODES = 20  # episodes whose mean return says which agent is the best
EPISODES = 100  # episodes whose steps are counted


def best_agent(task, candidates: int = 3, steps: int | None = None, saved=()):
    """Train agents from scratch and return the one with the best mean return.

    candidates: how many agents; they are the arm `rl` with seeds 0, 1, … steps: their budget; the
    default is the task's. saved: checkpoints (agents/rl-0.npz of a run) that compete, too.
    """
    agents = []
    for seed in range(candidates):
        agent = task.make_agent(seed)
        minloro.finetune(agent, task, steps or task.steps, seed=seed)
        agents.append(agent)
    for path in saved:
        agent = task.make_agent()
        agent.load(path)
        agents.append(agent)
    seeds = [stream_seed(0, "best-agent", episode) for episode in range(COMPARED_EPISODES)]
    return max(agents, key=lambda agent: minloro.evaluate(agent, task.make_env(), seeds)[0])


def greedy_rollouts(task, agent, episodes: int = EPISODES, seed: int = 0) -> minloro.Transitions:
    """Return the transitions of greedy episodes of an agent."""

    def choose(observation, rows, step):
        return agent.act(agent.encode(observation)), "greedy"

    env = task.make_env()
    rows = []
    sources = []
    for episode in range(episodes):
        env_seed = stream_seed(seed, "greedy-rollouts", episode)
        play_episode(env, choose, episode, env_seed, rows, sources)
    metadata = {"environment": task.environment, "source": "greedy policy"}
    return from_rows(rows, sources, metadata)


def target(task) -> tuple[np.ndarray, str]:
    """Return d*, (S, A), and whose it is.

    It is exact if the environment has a transition table. Otherwise it is the share of the best
    agent's steps on each pair.
    """
    table = task.transition_table
    if table is not None:
        start = task.make_env().unwrapped.initial_state_distrib
        exact = occupancy(table, start, optimal_policy(table), task.step_limit)
        return exact, "the optimal policy, exact"
    data = greedy_rollouts(task, best_agent(task))
    counts = visits(task, data)
    mean_return = data.episode_returns.mean()
    return counts / counts.sum(), f"the best agent (return {mean_return:.1f})"


if __name__ == "__main__":
    for name in TASKS:
        _, whose = target(minloro.make_task(name))
        print(f"{name:<14}{whose}", flush=True)
