"""The folder of a run: what it was asked to do, what it has finished, and its results.

config.json           the settings
rollouts.npz          D (rollouts-SEED.npz if every seed has its own)
llm.jsonl             the transcript of the model's replies
agents/               what each arm and seed had learned at the end
returns.csv           the return of every episode and evaluation
summary.json          metrics with intervals
learning_curves.png   and map.png for grid worlds
parts/                while the run goes on: one file per finished arm and seed, later returns.csv
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from minloro.errors import UserError
from minloro.files import write_csv, write_json
from minloro.rollout import EpisodeReturn

COLUMNS = (
    "arm",
    "seed",
    "phase",
    "env_steps",
    "episode_return",
    "episode_length",
    "behaviour",
)


class RunFolder:
    """Paths and files of one run; `config` is the dictionary that config.json holds."""

    def __init__(self, path: Path, config: dict[str, Any], created: bool = False):
        self.path = path
        self.config = config
        self.parts = path / "parts"
        self.transcript = path / "llm.jsonl"
        self._created = created

    @classmethod
    def create(cls, path: str | Path | None, config: dict[str, Any]) -> RunFolder:
        """Make the folder and write config.json; without a path, choose a name in runs/.

        Raises UserError if the folder holds something already or cannot be written.
        """
        if path is None:
            path = _free_name(Path("runs") / f"{config['task']}-{datetime.now():%Y%m%d-%H%M%S}")
        path = Path(path)
        created = not path.exists()
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise UserError(
                    f"{path} is not empty: give another --out, or go on with its run: "
                    f"--resume {path}"
                )
            write_json(path / "config.json", config)
        except OSError as error:
            raise UserError(
                f"cannot write to {path} ({error.strerror}): give another --out"
            ) from None
        return cls(path, config, created)

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open the folder of an earlier run."""
        path = Path(path)
        file = path / "config.json"
        damaged = f"{file} is damaged: the run cannot be resumed from it"
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except OSError:
            raise UserError(
                f"{path} is not the folder of a run: it has no readable config.json"
            ) from None
        except ValueError:
            raise UserError(damaged) from None
        if not isinstance(config, dict):
            raise UserError(damaged)
        if not os.access(path, os.W_OK):
            raise UserError(f"cannot write to {path}: copy the folder and resume the copy")
        return cls(path, config)

    def discard_if_unused(self) -> None:
        """Remove a folder that this run has made and in which nothing was collected.

        Its name is then free again.
        """
        names = {"config.json", "llm.jsonl"}
        unused = {entry.name for entry in self.path.iterdir()} <= names
        asked = self.transcript.exists() and self.transcript.stat().st_size > 0
        if not self._created or not unused or asked:
            return
        for name in names:
            (self.path / name).unlink(missing_ok=True)
        self.path.rmdir()

    def data_path(self, seed: int) -> Path:
        """Return the path of D: one file for all seeds, or one per seed with fresh data."""
        name = f"rollouts-{seed}.npz" if self.config["fresh_data"] else "rollouts.npz"
        return self.path / name

    def agent_path(self, arm: str, seed: int) -> Path:
        """Return the path of what the agent of an arm and seed had learned at the end."""
        return self.path / "agents" / f"{arm}-{seed}.npz"

    def save_agent(self, arm: str, seed: int, agent: Any) -> None:
        """Save what the agent of an arm and seed has learned."""
        path = self.agent_path(arm, seed)
        path.parent.mkdir(exist_ok=True)
        agent.save(path)

    def save_part(self, arm: str, seed: int, returns: Sequence[EpisodeReturn]) -> None:
        """Save the returns of a finished arm and seed."""
        self.parts.mkdir(exist_ok=True)
        _write_returns(self.parts / f"{arm}-{seed}.csv", {(arm, seed): returns})

    def finished(self) -> dict[tuple[str, int], list[EpisodeReturn]]:
        """Return {(arm, seed): episode returns} of what is finished, in the configured order."""
        found: dict[tuple[str, int], list[EpisodeReturn]] = {}
        for file in (self.path / "returns.csv", *sorted(self.parts.glob("*.csv"))):
            if file.exists():
                found |= _read_returns(file)
        first_seed = self.config["seed"]
        seeds = range(first_seed, first_seed + self.config["seeds"])
        order = [(arm, seed) for arm in self.config["arms"] for seed in seeds]
        return {key: found[key] for key in order if key in found}

    def gather(self) -> dict[tuple[str, int], list[EpisodeReturn]]:
        """Turn the finished parts into returns.csv and return them."""
        finished = self.finished()
        _write_returns(self.path / "returns.csv", finished)
        shutil.rmtree(self.parts, ignore_errors=True)
        return finished


def _free_name(path: Path) -> Path:
    """Return the path, with a number behind it if it is taken."""
    numbered = (path.with_name(f"{path.name}-{k}") for k in range(2, 1000))
    return next(candidate for candidate in (path, *numbered) if not candidate.exists())


def _write_returns(path: Path, returns: Mapping[tuple[str, int], Sequence[EpisodeReturn]]) -> None:
    lines = []
    for (arm, seed), episodes in returns.items():
        for row in episodes:
            episode_return = float(row.episode_return)
            length = f"{row.episode_length:g}"
            lines.append(
                (arm, seed, row.phase, row.env_steps, episode_return, length, row.behaviour)
            )
    write_csv(path, COLUMNS, lines)


def _read_returns(path: Path) -> dict[tuple[str, int], list[EpisodeReturn]]:
    returns: dict[tuple[str, int], list[EpisodeReturn]] = {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                key = (line["arm"], int(line["seed"]))
                episode = EpisodeReturn(
                    phase=line["phase"],
                    behaviour=line["behaviour"],
                    env_steps=int(line["env_steps"]),
                    episode_return=float(line["episode_return"]),
                    episode_length=float(line["episode_length"]),
                )
                returns.setdefault(key, []).append(episode)
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path} is damaged: move it away, and its runs are done again") from None
    return returns
