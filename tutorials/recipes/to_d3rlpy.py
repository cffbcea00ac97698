"""A data set of minloro for d3rlpy: `python tutorials/to_d3rlpy.py D.npz OUT.h5`. Needs d3rlpy (2.8), not minloro.

Read OUT.h5 with `d3rlpy.dataset.ReplayBuffer.load(file, d3rlpy.dataset.InfiniteBuffer())`. d3rlpy keeps no next
observations: it takes s' from the row below and knows an episode's end by two flags.

- `terminals` is `terminated`. There s' is never used, and d3rlpy shows zeros in its place: s' of these rows is lost.
- `timeouts` marks the last row of every other episode, truncated or merely unfinished. Without the mark d3rlpy would join
  an unfinished episode to the next one, or drop it without a word if it is the last.
- At a timeout d3rlpy has no s', and so leaves the last transition out. To keep it, one row follows that holds s' as its
  observation, with the last action repeated and reward 0. It is never sampled as a transition, but it is a row of
  trajectories (Decision Transformer) and counts in the episode's length.
- States with a number stand as rows of one number; encode them before learning, as in `np.eye(16)[numbers]`.
- d3rlpy counts the actions by the largest one in the data; pass `action_size` to MDPDataset where D never takes the last.
"""

import sys
from zipfile import BadZipFile

import numpy as np
from d3rlpy.dataset import MDPDataset


def to_d3rlpy(data: dict[str, np.ndarray], **options) -> MDPDataset:
    """Return the MDPDataset of the columns of D; options are passed on to it."""
    starts = np.flatnonzero(np.append(True, data["episode"][1:] != data["episode"][:-1]))
    columns = {name: [] for name in ("observations", "actions", "rewards", "terminals", "timeouts")}
    for rows in map(slice, starts, [*starts[1:], len(data["episode"])]):
        part = {name: column[rows] for name, column in data.items()}
        if (part["next_observations"][:-1] != part["observations"][1:]).any():
            raise ValueError(f"rows are missing within episode {part['episode'][0]}: d3rlpy cannot hold it")
        extra = 0 if part["terminated"][-1] else 1  # a row that holds the last s'
        timeouts = np.zeros(len(part["rewards"]) + extra, bool)
        timeouts[-1] = extra
        columns["observations"] += [part["observations"], part["next_observations"][-1:][:extra]]
        columns["actions"] += [part["actions"], part["actions"][-1:][:extra]]
        columns["rewards"] += [part["rewards"], np.zeros(extra)]
        columns["terminals"] += [part["terminated"], np.zeros(extra, bool)]
        columns["timeouts"] += [timeouts]
    joined = {name: np.concatenate(pieces) for name, pieces in columns.items()}
    joined["observations"] = joined["observations"].reshape(len(joined["rewards"]), *data["observations"].shape[1:] or (1,))
    return MDPDataset(**joined, **options)


def main(argv: list[str]) -> int:
    """Convert argv[0] to argv[1]; return the exit status."""
    try:
        source, target = argv
        with np.load(source, allow_pickle=False) as file:
            data = {name: file[name] for name in file.files if name not in ("metadata", "source")}
        dataset = to_d3rlpy(data)
        with open(target, "x+b") as file:
            dataset.dump(file)
    except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
        print(f"error: {error} (python tutorials/to_d3rlpy.py D.npz OUT.h5, OUT.h5 not yet there)", file=sys.stderr)
        return 2
    print(f"{target}: {dataset.size()} episodes, {dataset.transition_count} transitions")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
