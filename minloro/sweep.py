"""Run jobs, arms times seeds, over any concurrent.futures.Executor: threads, processes, or a cluster."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing.connection import wait

from minloro.errors import UserError
from minloro.loro import run_arm


def run(jobs: Iterable, executor: Executor | None = None, function: Callable = run_arm) -> Iterator[tuple]:
    """Yield (job, function(job)) as each is done: in order in this process, or as they finish in the executor.

    A job holds its own seed, and is all that its result depends on. Only `submit` is asked of the executor, and it is not
    shut down.
    """
    if executor is None:
        yield from ((job, function(job)) for job in jobs)
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
    """Give an executor of `workers` processes that ends with the block, on Ctrl-C without waiting for its jobs.

    None for a single worker: the jobs then run in this process.
    """
    if workers <= 1:
        yield None
        return
    before = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(workers, initializer=_start_worker)
    try:
        yield executor
    except BaseException:
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        executor._call_queue._reader.close()  # where nobody reads, Python 3.10 would wait for ever to hand over the next job
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def cluster(address: str) -> Iterator[Executor]:
    """Give an executor over the dask.distributed cluster whose scheduler is at `address`; the cluster is left running.

    Its workers must have minloro installed. A job whose worker dies is run again on another one.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UserError("--scheduler needs dask.distributed: python -m pip install 'minloro[dask]'") from None
    try:
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError):
        raise UserError(f"no dask scheduler answers at {address}: start one, or correct --scheduler") from None
    with client:
        yield client.get_executor(pure=False)  # equal calls are not one call: nothing is taken from a cache


def _start_worker() -> None:
    """Leave Ctrl-C to the parent process, and end with it should it be killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
