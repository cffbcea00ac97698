"""The command line: usage, folders, resuming, messages, and the same bits for the same seed."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from servers import always, completion, serve

import minloro
from minloro import arms
from minloro.bench import sweep
from minloro.bench.progress import Progress
from minloro.cli import main
from minloro.flags import ALL_ARMS, ARMS
from minloro.llm import client
from minloro.llm.transcript import Transcript
from minloro.tasks.registry import TASK_NAMES
from minloro.transitions import save_transitions

SHORT = "cartpole --seeds 1 --steps 1000 --episodes 3 --arms rl,loro --jobs 1 --quiet".split()
NO_SERVER = ["--llm-url", "http://127.0.0.1:9/v1", "--llm-model", "tiny"]


def contents(folder):
    """The bytes of all files below a folder, by their paths in it."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path.relative_to(folder): path.read_bytes() for path in files}


def refused(capsys, *argv, status=2):
    """Run the command line, expect it to end with one line on stderr, and return that line."""
    capsys.readouterr()
    try:
        assert main([str(a) for a in argv]) == status
    except SystemExit as stop:
        pytest.fail(f"the parser ended the process with {stop.code}")
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and err.startswith("minloro: error: ") and not out, (out, err)
    return err


def test_the_names_in_the_help_are_those_of_the_package(capsys):
    assert TASK_NAMES == minloro.TASK_NAMES
    assert {*ARMS, "mix", arms.OWN_DATA, arms.CLONED} == set(ALL_ARMS)
    assert set(arms.PRETRAINED) < set(ALL_ARMS)
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(task in text for task in TASK_NAMES) and max(map(len, text.splitlines())) <= 120


HELP = """
import sys, minloro.cli
try:
    minloro.cli.main(["--help"])
except SystemExit:
    pass
heavy = {"numpy", "matplotlib", "gymnasium", "requests"} & set(sys.modules)
sys.exit(bool(heavy))
"""


def test_help_imports_nothing_heavy():
    assert subprocess.run([sys.executable, "-c", HELP], stdout=subprocess.DEVNULL).returncode == 0


WATCH_NUMPY = """
import builtins, os, sys
os.environ.clear()
import minloro.cli
load = builtins.__import__
def spy(name, *rest):
    if name == "numpy" and "numpy" not in sys.modules:
        print(os.environ.get("OPENBLAS_NUM_THREADS"))
    return load(name, *rest)
builtins.__import__ = spy
minloro.cli.main(["cartpole", "--data", "missing.npz"])
"""


def test_blas_has_one_thread_before_numpy_is_loaded():
    result = subprocess.run([sys.executable, "-c", WATCH_NUMPY], capture_output=True, text=True)
    assert result.stdout == "1\n" and "missing.npz" in result.stderr


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "say what to play"),
        (["chess"], "chess"),
        (["cartpole", "--arms", "rl,magic"], "rl,magic"),
        (["cartpole", "--arms", "rl,rl"], "different arms"),
        (["cartpole", "--arms", ""], "arms"),
        (["cartpole", "--seeds", "0"], "whole number from 1"),
        (["cartpole", "--seeds", "many"], "whole number"),
        (["cartpole", "--seed", "-1"], "--seed"),
        (["cartpole", "--seed", "99999999999"], "whole number"),
        (["cartpole", "--steps", "100"], "at least 200"),
        (["cartpole", "--steps", "1e3"], "whole number"),
        (["cartpole", "--episodes", "0"], "whole number from 1"),
        (["cartpole", "--jobs", "0"], "whole number from 1"),
        (["cartpole", "--data-retention", "maybe"], "neither keep nor drop"),
        (["cartpole", "--offline", "1.5"], "neither keep nor drop"),
        (["cartpole", "--stand-in-skill", "nan"], "from 0 to 1"),
        (["cartpole", "--stand-in-skill", "2"], "from 0 to 1"),
        (["cartpole", "--llm-url", "http://localhost:1/v1"], "belong together"),
        (["cartpole", "--llm-model", "tiny"], "belong together"),
        (
            ["cartpole", "--llm-url", "localhost", "--llm-model", "tiny", "--stand-in-skill", "1"],
            "exclude each other",
        ),
        (["cartpole", "--llm-url", "localhost", "--llm-model", "tiny"], "http://"),
        (["cartpole", "--data", "x.npz", "--fresh-data"], "--data and --fresh-data exclude"),
        (["cartpole", "--data", "missing.npz"], "missing.npz"),
        (["cartpole", "--api-key", "sk-secret"], "unrecognized"),
        (["cartpole", "--llm-url", "http://localhost:1/v1", "--llm-model", ""], "empty"),
        (["cartpole", "--llm-url", "http://ü.x/v1", "--llm-model", "tiny"], "--llm-url"),
        (["cartpole", "--out", ""], "empty"),
        (["cartpole", "--data", "x" * 5000], "cannot be read (File name too long)"),
        (["cartpole", "--steps", "2147483647"], "100 million"),
        (["cartpole", "--seeds", "1000000000"], "at most 10,000"),
        (["--resume", "nowhere"], "nowhere"),
    ],
)
def test_wrong_usage(capsys, tmp_path, monkeypatch, argv, message):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, *argv)
    assert not list(tmp_path.rglob("*.*")), "nothing may be left behind"


def test_data_that_cannot_be_used(capsys, tmp_path, cartpole):
    save_transitions(tmp_path / "good.npz", minloro.collect_random(cartpole, 300))
    out = tmp_path / "out"
    cut = tmp_path / "cut.npz"
    cut.write_bytes((tmp_path / "good.npz").read_bytes()[:3000])
    pickled = tmp_path / "pickled.npz"
    pickled.write_bytes(pickle.dumps([1, 2]))
    for path, message in ((cut, "not a readable .npz"), (pickled, "pickled")):
        assert message in refused(capsys, *SHORT, "--data", path, "--out", out)
    too_short = ["cartpole", "--steps", 200, "--data", tmp_path / "good.npz", "--out", out]
    assert "give more --steps" in refused(capsys, *too_short)
    assert not out.exists()


def test_a_budget_that_d_uses_up_is_not_advised_to_go_on(capsys, tmp_path):
    out = tmp_path / "run"
    advice = f"give more --steps or fewer --episodes; D is kept: --data {out / 'rollouts.npz'}"
    # A resumed run would keep its budget.
    for argv in (["cartpole", "--steps", 300, "--out", out], ["--resume", out]):
        message = refused(capsys, *argv)
        assert advice in message
        assert "go on with" not in message
    longer = "cartpole --quiet --steps 1000 --seeds 1 --arms rl,loro --jobs 1".split()
    longer += ["--data", str(out / "rollouts.npz"), "--out", str(tmp_path / "longer")]
    assert main(longer) == 0


def test_a_dry_run_with_given_data_asks_nobody(capsys):
    assert main(["cartpole", "--dry-run", "--data", "D.npz"]) == 0
    assert "nobody is asked" in capsys.readouterr().out


def test_a_folder_is_no_data_set(capsys, tmp_path):
    assert "cannot be read (Is a directory)" in refused(capsys, "cartpole", "--data", tmp_path)


def test_data_that_looks_wrong_gets_a_warning(capsys, tmp_path, cartpole, small_data):
    shifted = {
        "observations": small_data.next_observations[:-1],
        "actions": small_data.actions[:-1],
    }
    rest = small_data.rows(slice(1, None))
    misaligned = minloro.Transitions(**vars(rest) | shifted)
    path = tmp_path / "d.npz"
    save_transitions(path, misaligned)
    argv = [*SHORT, "--data", str(path), "--episodes", "9", "--out", str(tmp_path / "out")]
    assert main(argv) == 0
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 2 and all(line.startswith("minloro: warning: ") for line in err)
    assert "holds 3 episodes, not 9" in err[0]
    assert " of 104 rows of " in err[1] and "it has 104)" in err[1]


def test_output_folders_that_cannot_be_used(capsys, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("keep me")
    (tmp_path / "file").write_text("a file")
    before = contents(tmp_path)
    assert "is not empty" in refused(capsys, *SHORT, "--out", tmp_path / "full")
    assert "cannot write" in refused(capsys, *SHORT, "--out", tmp_path / "file")
    assert "cannot write" in refused(capsys, *SHORT, "--out", tmp_path / "file" / "below")
    assert contents(tmp_path) == before
    if os.geteuid():  # root may write anywhere
        (tmp_path / "locked").mkdir(mode=0o500)
        assert "cannot write" in refused(capsys, *SHORT, "--out", tmp_path / "locked" / "run")


def test_another_run_is_not_overwritten(capsys, tmp_path):
    out = tmp_path / "run"
    assert main([*SHORT, "--out", str(out)]) == 0
    before = contents(out)
    assert "--resume" in refused(capsys, *SHORT, "--out", out)
    assert contents(out) == before


def test_default_folders_do_not_collide(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main([*SHORT, "--arms", "llm"]) == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2
    assert "Written to runs/cartpole-" in capsys.readouterr().out


def test_same_seed_same_bits_whatever_the_number_of_processes(tmp_path):
    argv = ["cartpole", "--seeds", "2", "--steps", "1000", "--episodes", "3", "--quiet"]
    folders = []
    for jobs in ("1", "3"):
        folders.append(tmp_path / jobs)
        assert main([*argv, "--jobs", jobs, "--out", str(folders[-1])]) == 0
    one, three = (contents(folder) for folder in folders)
    names = "config.json rollouts.npz llm.jsonl returns.csv summary.json".split()
    names.append("learning_curves.png")
    for arm in ("rl", "loro", "guided", "random-data"):
        names += [f"agents/{arm}-0.npz", f"agents/{arm}-1.npz"]
    assert one.keys() == three.keys() == {Path(name) for name in names}
    for name in one:
        if name.suffix != ".npz":  # a zip file stores the time
            assert one[name] == three[name], name
            continue
        with np.load(folders[0] / name) as a, np.load(folders[1] / name) as b:
            assert all((a[column] == b[column]).all() for column in a.files), name


def test_a_seed_of_a_longer_run_is_the_run_of_that_seed(tmp_path):
    argv = ["cartpole", "--steps", "1000", "--arms", "rl", "--quiet", "--jobs", "1"]
    assert main([*argv, "--seeds", "2", "--out", str(tmp_path / "both")]) == 0
    assert main([*argv, "--seeds", "1", "--seed", "1", "--out", str(tmp_path / "second")]) == 0
    both, second = (
        (tmp_path / name / "returns.csv").read_text().splitlines() for name in ("both", "second")
    )
    assert [line for line in both if line.startswith("rl,1,")] == second[1:]


def test_fresh_data_is_a_data_set_for_every_seed(tmp_path, capsys):
    out = tmp_path / "run"
    argv = [*SHORT, "--seeds", "2", "--arms", "loro,llm", "--fresh-data", "--out", str(out)]
    assert main(argv) == 0
    first, second = (np.load(out / f"rollouts-{seed}.npz")["observations"] for seed in (0, 1))
    assert first.shape != second.shape or (first != second).any()
    summary = json.loads((out / "summary.json").read_text())
    assert summary["data"]["data_sets"] == 2 and summary["arms"]["llm"]["n_seeds"] == 2
    assert "One D serves all seeds" not in capsys.readouterr().out


def test_a_resumed_run_keeps_its_settings(tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*SHORT, "--out", str(out)]) == 0
    before = contents(out)
    assert "steps 1000, not 2000" in refused(capsys, "--resume", out, "--steps", 2000)
    assert "--out" in refused(capsys, "--resume", out, "--out", tmp_path / "other")
    assert main(["cartpole", "--resume", str(out), "--steps", "1000"]) == 0
    after = contents(out)
    assert before.keys() == after.keys()
    assert not [name for name in before if before[name] != after[name]]
    (out / "config.json").write_text("{")
    assert "damaged" in refused(capsys, "--resume", out)
    (out / "config.json").write_text("{}")
    assert "not from this version" in refused(capsys, "--resume", out)


def test_a_damaged_result_is_reported(tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*SHORT, "--out", str(out)]) == 0
    (out / "returns.csv").write_text("arm,seed\nrl,zero\n")
    assert "damaged" in refused(capsys, "--resume", out)


def start(*argv):
    command = [sys.executable, "-m", "minloro", *map(str, argv)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, how):
    argv = ["cartpole", "--seeds", "4", "--steps", "4000", "--jobs", "2"]
    whole = tmp_path / "whole"
    stopped = tmp_path / "stopped"
    assert main([*argv, "--quiet", "--out", str(whole)]) == 0
    run = start(*argv, "--out", stopped)
    deadline = time.monotonic() + 60
    while len(list(stopped.glob("parts/rl-*.csv"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    run.send_signal(how)
    _, err = run.communicate(timeout=30)
    if how != signal.SIGKILL:
        assert run.returncode == 130 and err.count("\n") == 1 and f"--resume {stopped}" in err
        assert len((stopped / "returns.csv").read_text().splitlines()) > 20
    assert not (stopped / "summary.json").exists()
    assert main(["--resume", str(stopped), "--quiet"]) == 0
    for name in ("returns.csv", "summary.json", "llm.jsonl", "learning_curves.png"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_model_behind_a_server_is_asked_once_for_every_step(tmp_path, capsys):
    """A run that was stopped by its server goes on, and asks only what was not answered."""
    out = tmp_path / "run"
    healthy = []

    def answer(body, headers):
        if len(received) > 20 and not healthy:
            return 500, {}
        to_the_right = "leaning to the right" in body["messages"][1]["content"]
        return 200, completion("Action: 2" if to_the_right else "Action: 1")

    with serve(answer) as (url, received):
        argv = [*SHORT, "--llm-url", url, "--llm-model", "tiny", "--out", out]
        assert "--resume" in refused(capsys, *argv, status=1)
        assert "add --llm-url" in refused(capsys, "--resume", out)
        healthy.append(True)
        assert main(["--resume", str(out), "--llm-url", url]) == 0
        questions = [json.dumps(body) for _, body, _ in received]
        transitions = json.loads((out / "summary.json").read_text())["data"]["transitions"]
        # One question was answered with errors only.
        assert len(questions) == transitions + client.ATTEMPTS
        assert len((out / "llm.jsonl").read_text().splitlines()) == transitions
    capsys.readouterr()
    assert main(["--resume", str(out)]) == 0  # no server any more
    text = capsys.readouterr().out
    assert "D: tiny" in text and "no language model" not in text


def test_a_server_that_is_not_there_leaves_nothing_behind(tmp_path, capsys):
    out = tmp_path / "run"
    line = refused(capsys, *SHORT, *NO_SERVER, "--out", out)
    assert "nothing answers" in line and not out.exists()


def test_no_key_reaches_a_file_or_the_terminal(tmp_path, capsys, monkeypatch):
    key = "sk-a-key-that-nobody-may-see"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with serve(always(200, completion("Action: 1"))) as (url, received):
        argv = [*SHORT, "--llm-url", url, "--llm-model", "tiny", "--out", str(tmp_path / "run")]
        assert main(argv) == 0
    assert received[0][2]["Authorization"] == f"Bearer {key}"
    out, err = capsys.readouterr()
    assert key not in out + err
    assert all(key.encode() not in content for content in contents(tmp_path).values())


def test_a_resumed_run_is_never_removed(tmp_path, capsys):
    """If a run stops before the model's first reply, the folder in the message still exists."""
    out = tmp_path / "run"
    with serve(always(500, {})) as (url, _):
        refused(capsys, *SHORT, "--llm-url", url, "--llm-model", "tiny", "--out", out, status=1)
    assert "add --llm-url" in refused(capsys, "--resume", out)
    assert (out / "config.json").exists()
    own = tmp_path / "mine"
    own.mkdir()
    refused(capsys, *SHORT, *NO_SERVER, "--out", own)
    assert own.is_dir()


def test_a_given_data_set_is_read_again_where_it_was_lost(tmp_path, capsys, small_data):
    save_transitions(tmp_path / "d.npz", small_data)
    out = tmp_path / "run"
    assert main([*SHORT, "--data", str(tmp_path / "d.npz"), "--out", str(out)]) == 0
    summary = (out / "summary.json").read_bytes()
    (out / "rollouts.npz").unlink()
    assert main(["--resume", str(out)]) == 0
    assert (out / "summary.json").read_bytes() == summary
    (out / "rollouts.npz").unlink()
    (tmp_path / "d.npz").unlink()
    assert "cannot be read (No such file or directory)" in refused(capsys, "--resume", out)


def test_a_resumed_run_does_not_run_again_what_is_finished(tmp_path, monkeypatch):
    out = tmp_path / "run"
    assert main([*SHORT, "--out", str(out)]) == 0
    asked = []

    def run(jobs, executor):
        asked.append(jobs)
        return []

    monkeypatch.setattr(sweep, "run", run)
    assert main(["--resume", str(out)]) == 0 and asked == [[]]


def test_the_first_episodes_of_given_data(tmp_path, small_data):
    save_transitions(tmp_path / "d.npz", small_data)
    out = tmp_path / "run"
    argv = "cartpole --arms loro --seeds 1 --steps 600 --quiet --episodes 2".split()
    assert main([*argv, "--data", str(tmp_path / "d.npz"), "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["data"]["episodes"] == 2
    assert summary["data"]["transitions"] == small_data.episode_lengths[:2].sum()
    assert summary["llm"]["calls"] is None  # the file's count is of all its episodes


@pytest.mark.parametrize("name", [r"a$\frac$b", "línea\nuno", "模型", "x" * 300, "\ud800"])
def test_any_model_name_can_be_shown(tmp_path, capsys, name):
    with serve(always(200, completion("Action: 1", model=name))) as (url, _):
        argv = [*SHORT, "--llm-url", url, "--llm-model", "tiny", "--out", str(tmp_path / "run")]
        assert main(argv) == 0
    out, err = capsys.readouterr()
    assert not err
    table = [line for line in out.splitlines() if not line.startswith(("D: ", "Written"))]
    assert all(len(line) < 120 for line in table)


def test_the_figure_is_there_when_nobody_reads_the_table(tmp_path):
    out = tmp_path / "run"
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "minloro", *SHORT, "--out", str(out)]
        assert subprocess.run(command, stdout=full, stderr=subprocess.PIPE).returncode == 1
    assert (out / "learning_curves.png").exists()
    command[-1] = str(tmp_path / "two")
    without_stderr = {"stdout": subprocess.DEVNULL, "preexec_fn": lambda: os.close(2)}
    assert subprocess.run(command, **without_stderr).returncode == 0


@pytest.mark.parametrize(
    "typed", ["--api-key sk-secret", "--llm-key=sk-secret", "sk-secret", "OPENAI_API_KEY=secret"]
)
def test_a_key_on_the_command_line_is_refused_and_not_repeated(capsys, typed):
    assert main(["cartpole", *typed.split()]) == 2 and main(typed.split()) == 2
    err = capsys.readouterr().err
    assert err.count("minloro: error: ") == 2 and "secret" not in err


@pytest.mark.parametrize("width", [30, 80, 200])
def test_the_progress_line_fits_and_tells_the_most_important_first(monkeypatch, width):
    lines = []

    class Terminal:
        isatty = staticmethod(lambda: True)
        fileno = staticmethod(lambda: 2)
        flush = staticmethod(lambda: None)
        write = lines.append

    monkeypatch.setattr(sys, "stderr", Terminal)
    monkeypatch.setattr(os, "get_terminal_size", lambda fd: os.terminal_size((width, 24)))
    progress = Progress(quiet=False)
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    notes = "3 sent again, 4 unreadable, 56,789 tokens"
    for calls in (100, 120, 2500):
        progress.show("gpt-4o-mini, at most", calls, 2000, notes)
    shown = [line.removeprefix("\r\x1b[K") for line in lines if line.startswith("\r")]
    assert len(shown) == 3 and all(len(line) < width for line in shown)
    if width >= 80:
        assert "4 unreadable" in shown[1]
    if width == 200:
        assert f"120/2000  0:15:40 left  {notes}" in shown[1]
        assert shown[0].endswith("[#.......................]")
        assert shown[2].endswith(f"[{'#' * 24}]")


@pytest.mark.slow
@pytest.mark.parametrize("concurrency", ["1", "8"])
@pytest.mark.parametrize("server", ["hangs", "fails", "asks for a pause"])
def test_ctrl_c_ends_a_run_that_waits(tmp_path, server, concurrency):
    """One signal, a few seconds, and the line that says how to go on."""

    def answer(body, headers):
        if server == "hangs":
            time.sleep(30)
        return (500, {}) if server == "fails" else (429, {}, {"Retry-After": "100"})

    argv = ["cartpole", "--llm-model", "m", "--out", tmp_path / "run"]
    with serve(answer) as (url, received):
        process = start(*argv, "--concurrency", concurrency, "--llm-url", url)
        while not received:
            time.sleep(0.05)
        time.sleep(0.5)
        interrupted = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and time.monotonic() - interrupted < 12
    assert "go on with: python -m minloro --resume" in err and "Traceback" not in err


def test_a_folder_in_use_is_refused_whatever_is_done_there(tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*SHORT, "--out", str(out)]) == 0
    with Transcript(out / "llm.jsonl"):
        assert main(["--resume", str(out)]) == 2
    assert "another process" in capsys.readouterr().err
