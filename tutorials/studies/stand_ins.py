"""How good are the scripted stand-ins? `python tutorials/studies/stand_ins.py` prints a table.

For every task it holds the mean return of 100 episodes at skill 0 (random), 0.7 (the default) and 1
(the rule alone), the best return that is known, and the share of the way from random to best that
the default stand-in has come.

The best return is exact if the environment has a transition table. Otherwise it is the return of
the rule, or that of the last 10 evaluations of `rl` with 10 seeds, whichever is higher.
"""

import minloro
from minloro.dynamics import optimal_return
from minloro.errors import UserError

SKILLS = (0, 0.7, 1)
LEARNED = {
    "cartpole": 200.0,
    "mountaincar": -110.5,
    "acrobot": -99.4,
    "pendulum": -156.3,
    "pong": -0.88,
}


def mean_return(task, skill: float, episodes: int = 100) -> float:
    """Return the mean return of the stand-in with this skill."""
    player = minloro.StandInLLM(task, skill=skill)
    return minloro.collect(task, player, episodes).episode_returns.mean()


def best_return(task) -> float:
    """Return the optimum, or what `rl` reaches."""
    if task.transition_table is None:
        return LEARNED[task.name]
    start = task.make_env().unwrapped.initial_state_distrib
    return optimal_return(task.transition_table, start, task.step_limit)


def table_row(task) -> str:
    """Return the line of one task."""
    random, default, rule = (mean_return(task, skill) for skill in SKILLS)
    best = max(best_return(task), rule)
    share = (default - random) / (best - random)
    return f"{task.name:<14}{random:>10.2f}{default:>11.2f}{rule:>10.2f}{best:>10.2f}{share:>8.0%}"


def main() -> None:
    print(f"{'task':<14}{'random':>10}{'skill 0.7':>11}{'rule':>10}{'best':>10}{'share':>8}")
    for name in minloro.TASK_NAMES:
        try:
            print(table_row(minloro.make_task(name)))
        except UserError as error:  # the emulator of pong may be missing
            print(error)


if __name__ == "__main__":
    main()
