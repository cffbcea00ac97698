"""Jobs over threads and processes: the same results, and no process that stays behind."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from minloro.bench import sweep


def square(n):
    return n * n


def fail_on_three(n):
    if n == 3:
        raise ValueError("three")
    return n


def test_the_same_results_with_every_executor():
    expected = {n: n * n for n in range(20)}
    assert list(sweep.run(range(20), function=square)) == list(expected.items())
    with ThreadPoolExecutor(3) as executor:
        assert dict(sweep.run(range(20), executor, square)) == expected
        assert executor.submit(square, 3).result() == 9  # it was not shut down
    with sweep.process_pool(2) as executor:
        assert dict(sweep.run(range(20), executor, square)) == expected
    with sweep.process_pool(1) as executor:
        assert executor is None


def test_a_failure_ends_the_sweep_and_the_pool():
    with pytest.raises(ValueError, match="three"):
        with sweep.process_pool(2) as executor:
            list(sweep.run(range(20), executor, fail_on_three))


def running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


SLEEPY = """
import os, signal, sys, time
from minloro.bench import sweep
def sleep(n):
    os.write(1, f"{os.getpid()}\\n".encode())
    time.sleep(60)
if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    with sweep.process_pool(2) as pool:
        list(sweep.run(range(4), pool, sleep))
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="reads process states from /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_parent(tmp_path, how):
    script = tmp_path / "sleepy.py"
    script.write_text(SLEEPY)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    parent = subprocess.Popen([sys.executable, str(script)], **pipes, text=True)
    workers = [int(parent.stdout.readline()) for _ in range(2)]
    assert all(running(pid) for pid in workers)
    parent.send_signal(how)
    parent.wait(20)
    for _ in range(100):
        if not any(running(pid) for pid in workers):
            return
        time.sleep(0.1)
    pytest.fail("a worker is still running")
