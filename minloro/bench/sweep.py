"""Run jobs, arms times seeds, over any concurrent.futures.Executor: processes or a cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

from minloro.arms import run_arm
from minloro.errors import UserError


def run(
    jobs: Iterable, executor: Executor | None = None, function: Callable[[Any], Any] = run_arm
) -> Iterator[tuple[Any, Any]]:
    """Yield (job, function(job)) for every job: as they finish in the executor, if there is one.

    Without an executor the jobs run in this process, in order. A job holds its own seed, so its
    result depends on nothing else. The executor only needs `submit`; it is not shut down.
    """
    if executor is None:
        for job in jobs:
            yield job, function(job)
        return
    futures = {executor.submit(function, job): job for job in jobs}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        for future in futures:
            future.cancel()


@contextmanager
def process_pool(workers: int) -> Iterator[Executor | None]:
    """Give an executor of `workers` processes; None for a single worker.

    The processes end with the block. On Ctrl-C they end at once, without finishing their jobs.
    """
    if workers <= 1:
        yield None
        return
    others = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(workers, initializer=_start_worker)
    try:
        yield executor
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        # Nobody reads the queue any more. Python 3.10 would wait for ever to hand over a job.
        executor._call_queue._reader.close()  # type: ignore[attr-defined]
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def cluster(address: str) -> Iterator[Executor]:
    """Give an executor over a dask.distributed cluster; the cluster is left running.

    address: of its scheduler. The workers must have minloro installed. If a worker dies, its job
    is run again on another one.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UserError(
            "--scheduler needs dask.distributed: python -m pip install 'minloro[dask]'"
        ) from None
    try:
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError):
        raise UserError(
            f"no dask scheduler answers at {address}: start one, or correct --scheduler"
        ) from None
    with client:
        # pure=False: equal calls are run each for itself, none is answered from a cache.
        yield client.get_executor(pure=False)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent process, and end when the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # a worker has one
    wait([parent.sentinel])
    os._exit(1)
