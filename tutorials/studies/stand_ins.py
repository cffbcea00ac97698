"""How good are the scripted stand-ins? `python tutorials/stand_ins.py` prints the table of the README.

For every task: the mean return of 100 episodes at skill 0 (random), 0.7 (the default) and 1 (the rule alone), the best return
that is known, and the share of the way from random to best that the default stand-in has come. The best is exact where the
environment publishes its transition table; elsewhere it is the better one of the rule and of the last 10 evaluations of `rl`
with 10 seeds.
"""

import minloro
from minloro.dynamics import optimal_return
from minloro.errors import UserError

LEARNED = {"cartpole": 200.0, "mountaincar": -110.5, "acrobot": -99.4, "pendulum": -156.3, "pong": -0.88}


def mean_return(task, skill: float, episodes: int = 100) -> float:
    return minloro.collect(task, minloro.StandInLLM(task, skill=skill), episodes).episode_returns.mean()


def best_return(task) -> float:
    if task.transition_table is None:
        return LEARNED[task.name]
    return optimal_return(task.transition_table, task.make_env().unwrapped.initial_state_distrib, task.step_limit)


def main() -> None:
    print(f"{'task':<14}{'random':>10}{'skill 0.7':>11}{'rule':>10}{'best':>10}{'share':>8}")
    for name in minloro.TASK_NAMES:
        task = minloro.make_task(name)
        try:
            random, default, rule = (mean_return(task, skill) for skill in (0, 0.7, 1))
        except UserError as error:  # pong, where its emulator is not installed
            print(error)
            continue
        best = max(best_return(task), rule)
        share = (default - random) / (best - random)
        print(f"{name:<14}{random:>10.2f}{default:>11.2f}{rule:>10.2f}{best:>10.2f}{share:>8.0%}")


if __name__ == "__main__":
    main()
