"""A run's folder: what it was asked to do, what it has finished, and its results.

config.json, rollouts.npz (rollouts-SEED.npz where every seed has its own D), llm.jsonl, agents/ (what each arm and seed had
learned at the end), returns.csv, summary.json, learning_curves.png, and map.png for grid worlds. While a run goes on, each
finished arm and seed is one file in parts/; they become returns.csv.
"""

import csv
import json
import os
import shutil
from datetime import datetime
from pathlib import Path

from minloro.errors import UserError
from minloro.files import write_csv, write_json
from minloro.loro import EpisodeReturn

COLUMNS = ("arm", "seed", "phase", "env_steps", "episode_return", "episode_length", "behaviour")


class RunFolder:
    """Paths and files of one run; `config` is the dictionary that config.json holds."""

    def __init__(self, path: Path, config: dict, created: bool = False):
        self.path, self.config, self._created = path, config, created
        self.parts = path / "parts"
        self.transcript = path / "llm.jsonl"

    @classmethod
    def create(cls, path: str | Path | None, config: dict) -> "RunFolder":
        """Make the folder and write config.json; raise UserError where the folder cannot be this run's own."""
        if path is None:
            path = _free_name(Path("runs") / f"{config['task']}-{datetime.now():%Y%m%d-%H%M%S}")
        path = Path(path)
        created = not path.exists()
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise UserError(f"{path} is not empty: give another --out, or go on with its run: --resume {path}")
            write_json(path / "config.json", config)
        except OSError as error:
            raise UserError(f"cannot write to {path} ({error.strerror}): give another --out") from None
        return cls(path, config, created)

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """Open the folder of an earlier run."""
        path = Path(path)
        try:
            config = json.loads((path / "config.json").read_text(encoding="utf-8"))
            if not isinstance(config, dict):
                raise ValueError
        except OSError:
            raise UserError(f"{path} is not the folder of a run: it has no readable config.json") from None
        except ValueError:
            raise UserError(f"{path / 'config.json'} is damaged: the run cannot be resumed from it") from None
        if not os.access(path, os.W_OK):
            raise UserError(f"cannot write to {path}: copy the folder and resume the copy")
        return cls(path, config)

    def discard_if_unused(self) -> None:
        """Remove a folder that this run has made and in which nothing was collected, so that its name is free again."""
        unused = {entry.name for entry in self.path.iterdir()} <= {"config.json", "llm.jsonl"}
        if self._created and unused and not (self.transcript.exists() and self.transcript.stat().st_size):
            for name in ("config.json", "llm.jsonl"):
                (self.path / name).unlink(missing_ok=True)
            self.path.rmdir()

    def data_path(self, seed: int) -> Path:
        """Return where D is: one file, or one a seed with fresh data."""
        return self.path / (f"rollouts-{seed}.npz" if self.config["fresh_data"] else "rollouts.npz")

    def save_agent(self, arm: str, seed: int, agent) -> None:
        """Keep what the agent of an arm and seed had learned at the end."""
        self.agent_path(arm, seed).parent.mkdir(exist_ok=True)
        agent.save(self.agent_path(arm, seed))

    def agent_path(self, arm: str, seed: int) -> Path:
        """Return where that agent is."""
        return self.path / "agents" / f"{arm}-{seed}.npz"

    def save_part(self, arm: str, seed: int, returns: list[EpisodeReturn]) -> None:
        """Keep the returns of a finished arm and seed."""
        self.parts.mkdir(exist_ok=True)
        _to_csv(self.parts / f"{arm}-{seed}.csv", {(arm, seed): returns})

    def finished(self) -> dict[tuple[str, int], list[EpisodeReturn]]:
        """Return what is finished: {(arm, seed): episode returns}, in the order of the configuration."""
        found: dict[tuple[str, int], list[EpisodeReturn]] = {}
        for file in (self.path / "returns.csv", *sorted(self.parts.glob("*.csv"))):
            if file.exists():
                found |= _from_csv(file)
        seeds = range(self.config["seed"], self.config["seed"] + self.config["seeds"])
        order = [(arm, seed) for arm in self.config["arms"] for seed in seeds]
        return {key: found[key] for key in order if key in found}

    def gather(self) -> dict[tuple[str, int], list[EpisodeReturn]]:
        """Turn the finished parts into returns.csv and return them."""
        finished = self.finished()
        _to_csv(self.path / "returns.csv", finished)
        shutil.rmtree(self.parts, ignore_errors=True)
        return finished


def _free_name(path: Path) -> Path:
    candidates = (path, *(path.with_name(f"{path.name}-{k}") for k in range(2, 1000)))
    return next(candidate for candidate in candidates if not candidate.exists())


def _to_csv(path: Path, rows: dict[tuple[str, int], list[EpisodeReturn]]) -> None:
    write_csv(path, COLUMNS, (
        (arm, seed, r.phase, r.env_steps, float(r.episode_return), f"{r.episode_length:g}", r.behaviour)
        for (arm, seed), returns in rows.items()
        for r in returns
    ))  # fmt: skip


def _from_csv(path: Path) -> dict[tuple[str, int], list[EpisodeReturn]]:
    rows: dict[tuple[str, int], list[EpisodeReturn]] = {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                numbers = int(line["env_steps"]), float(line["episode_return"]), float(line["episode_length"])
                episode = EpisodeReturn(line["phase"], line["behaviour"], *numbers)
                rows.setdefault((line["arm"], int(line["seed"])), []).append(episode)
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path} is damaged: move it away, and its runs are done again") from None
    return rows
