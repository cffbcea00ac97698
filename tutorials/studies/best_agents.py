"""Who takes the optimum's place where no table gives it: the best of three agents trained from scratch.

`python tutorials/best_agents.py` prints how good they are. tutorials/coverage.py and tutorials/skill_study.py use them.
"""

import minloro
from minloro.coverage import occupancy, optimal_policy, visits
from minloro.randomness import stream_seed
from minloro.rollout import play_episode
from minloro.transitions import from_rows

TASKS = tuple(name for name in minloro.TASK_NAMES if name != "pong")  # of which coverage.CELLS knows nothing

EPISODES = 100  # whose steps are counted


def best_agent(task, candidates: int = 3, steps: int | None = None, saved=()):
    """Train the arm `rl` with seeds 0, 1, … and return the agent with the best mean return of 20 episodes of their own.

    steps: by default the task's. saved: checkpoints (agents/rl-0.npz of a run) that compete, too.
    """
    seeds, agents = [stream_seed(0, "best-agent", episode) for episode in range(20)], []
    for seed in range(candidates):
        agents.append(task.make_agent(seed))
        minloro.finetune(agents[-1], task, steps or task.steps, seed=seed)
    for path in saved:
        agents.append(task.make_agent())
        agents[-1].load(path)
    return max(agents, key=lambda agent: minloro.evaluate(agent, task.make_env(), seeds)[0])


def greedy_rollouts(task, agent, episodes: int = EPISODES, seed: int = 0) -> minloro.Transitions:
    """Return the transitions of `episodes` greedy episodes of `agent`."""
    env, rows, sources = task.make_env(), [], []
    for episode in range(episodes):
        env_seed = stream_seed(seed, "greedy-rollouts", episode)
        play_episode(env, lambda s, *_: (agent.act(agent.encode(s)), "greedy"), episode, env_seed, rows, sources)
    return from_rows(rows, sources, {"environment": task.environment, "source": "greedy policy"})


def target(task) -> tuple:
    """Return d*, (S, A), and whose it is: exactly the optimum's, or the shares of the best agent's steps."""
    if task.transition_table is not None:
        table, start = task.transition_table, task.make_env().unwrapped.initial_state_distrib
        return occupancy(table, start, optimal_policy(table), task.step_limit), "the optimal policy, exact"
    data = greedy_rollouts(task, best_agent(task))
    counts = visits(task, data)
    return counts / counts.sum(), f"the best agent (return {data.episode_returns.mean():.1f})"


if __name__ == "__main__":
    for name in TASKS:
        print(f"{name:<14}{target(minloro.make_task(name))[1]}", flush=True)
