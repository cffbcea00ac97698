"""The same sweep over threads, processes and a dask.distributed cluster, bit for bit.

`pip install 'minloro[dask]'`, then `python -m pytest -m slow tests/test_scheduler.py`.
"""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import minloro
from minloro.arms import Job, run_arm
from minloro.bench import sweep
from minloro.cli import main
from minloro.errors import UserError

distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scheduler():
    """A real scheduler with two worker processes of one thread each."""
    workers = {"n_workers": 2, "threads_per_worker": 1, "processes": True}
    with distributed.LocalCluster(**workers, dashboard_address=":0") as cluster:
        yield cluster


def sweep_jobs(data):
    task = minloro.make_task("cartpole")
    return [
        Job(task, arm, seed, 800, data, 50, "keep")
        for arm in ("rl", "loro", "random-data")
        for seed in range(3)
    ]


def bits(results):
    """The returns and the weights of every job: {(arm, seed): (returns, bytes)}."""
    return {
        (job.arm, job.seed): (returns, agent.weights.tobytes()) for job, (returns, agent) in results
    }


def test_the_same_bits_wherever_it_runs(scheduler, small_data):
    here = bits(sweep.run(sweep_jobs(small_data)))
    with ThreadPoolExecutor(3) as executor:
        assert bits(sweep.run(sweep_jobs(small_data), executor)) == here
    with sweep.process_pool(2) as executor:
        assert bits(sweep.run(sweep_jobs(small_data), executor)) == here
    for _ in range(2):  # the cluster is left running
        with sweep.cluster(scheduler.scheduler_address) as executor:
            assert bits(sweep.run(sweep_jobs(small_data), executor)) == here


def slow_run(job):
    time.sleep(0.3)
    return (*run_arm(job), os.getpid())


def test_a_worker_that_is_killed_loses_nothing(scheduler, small_data):
    here = bits(sweep.run(sweep_jobs(small_data)))
    done = []
    pids = set()
    with sweep.cluster(scheduler.scheduler_address) as executor:
        for job, (returns, agent, pid) in sweep.run(sweep_jobs(small_data), executor, slow_run):
            done.append((job, (returns, agent)))
            pids.add(pid)
            if len(done) == 1:
                os.kill(pid, signal.SIGKILL)
    assert bits(done) == here and len(done) == len(here) and len(pids) > 1


def test_equal_jobs_are_not_one_job(scheduler, small_data):
    jobs = sweep_jobs(small_data)[:1] * 4
    with sweep.cluster(scheduler.scheduler_address) as executor:
        assert len(list(sweep.run(jobs, executor))) == 4


def test_a_run_through_the_command_line(scheduler, tmp_path, capsys):
    argv = ["cartpole", "--arms", "rl,loro", "--seeds", "2", "--steps", "800", "--out"]
    assert main([*argv, str(tmp_path / "here"), "--jobs", "1"]) == 0
    assert main([*argv, str(tmp_path / "there"), "--scheduler", scheduler.scheduler_address]) == 0
    for name in ("returns.csv", "summary.json", "rollouts.npz", "agents/loro-1.npz"):
        here, there = ((tmp_path / run / name).read_bytes() for run in ("here", "there"))
        assert here == there, name


def test_no_scheduler_there():
    with pytest.raises(UserError, match="no dask scheduler answers at tcp://127.0.0.1:9"):
        with sweep.cluster("tcp://127.0.0.1:9"):
            pass
