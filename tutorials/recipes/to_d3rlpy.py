"""From a data set of minloro to d3rlpy: `python tutorials/recipes/to_d3rlpy.py D.npz OUT.h5`.

It needs d3rlpy (2.8), not minloro. Read OUT.h5 with
`d3rlpy.dataset.ReplayBuffer.load(file, d3rlpy.dataset.InfiniteBuffer())`. d3rlpy keeps no next
observations: it takes s' from the row below, and two flags tell it where an episode ends.

- `terminals` is `terminated`. At such a row s' is never used, and d3rlpy shows zeros in its place.
  So s' of these rows is lost.
- `timeouts` marks the last row of every other episode, truncated or unfinished. Without this mark
  d3rlpy would join an unfinished episode to the next one. The last episode it would silently drop.
- At a timeout d3rlpy has no s', so it leaves the last transition out. To keep it, one more row
  follows: it holds s' as its observation, the last action again, and reward 0. This row is never
  sampled as a transition. But it is a row of trajectories (Decision Transformer), and it counts in
  the length of the episode.
- If states are numbers, each stands as a row of one number. Encode them before learning, for
  example with `np.eye(16)[numbers]`.
- d3rlpy takes the number of actions from the largest one in the data. If D never takes the last
  action, pass `action_size` to MDPDataset.
"""

import sys
from zipfile import BadZipFile

import numpy as np
from d3rlpy.dataset import MDPDataset

USAGE = "python tutorials/recipes/to_d3rlpy.py D.npz OUT.h5, OUT.h5 not yet there"
ERRORS = (OSError, EOFError, KeyError, ValueError, BadZipFile)


def to_d3rlpy(data: dict[str, np.ndarray], **options) -> MDPDataset:
    """Return the MDPDataset of the columns of D; options are passed on to it."""
    episodes = [episode_columns(part) for part in episode_parts(data)]
    joined = {}
    for name in episodes[0]:
        joined[name] = np.concatenate([columns[name] for columns in episodes])
    row_shape = data["observations"].shape[1:] or (1,)
    joined["observations"] = joined["observations"].reshape(len(joined["rewards"]), *row_shape)
    return MDPDataset(**joined, **options)


def episode_parts(data: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Cut the columns of D into those of its episodes."""
    episode = data["episode"]
    first_rows = np.flatnonzero(np.append(True, episode[1:] != episode[:-1]))
    ends = [*first_rows[1:], len(episode)]
    parts = []
    for start, end in zip(first_rows, ends, strict=True):
        parts.append({name: column[start:end] for name, column in data.items()})
    return parts


def episode_columns(part: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the columns of one episode as d3rlpy takes them."""
    if (part["next_observations"][:-1] != part["observations"][1:]).any():
        raise ValueError(
            f"rows are missing within episode {part['episode'][0]}: d3rlpy cannot hold it"
        )
    columns = {
        "observations": part["observations"],
        "actions": part["actions"],
        "rewards": part["rewards"],
        "terminals": part["terminated"],
        "timeouts": np.zeros(len(part["rewards"]), bool),
    }
    if part["terminated"][-1]:
        return columns
    last_row = {
        "observations": part["next_observations"][-1:],
        "actions": part["actions"][-1:],
        "rewards": np.zeros(1),
        "terminals": np.zeros(1, bool),
        "timeouts": np.ones(1, bool),
    }
    return {name: np.concatenate([columns[name], last_row[name]]) for name in columns}


def main(argv: list[str]) -> int:
    """Convert argv[0] to argv[1]; return the exit status."""
    try:
        source, target = argv
        with np.load(source, allow_pickle=False) as file:
            names = [name for name in file.files if name not in ("metadata", "source")]
            data = {name: file[name] for name in names}
        dataset = to_d3rlpy(data)
        with open(target, "x+b") as file:
            dataset.dump(file)
    except ERRORS as error:
        print(f"error: {error} ({USAGE})", file=sys.stderr)
        return 2
    print(f"{target}: {dataset.size()} episodes, {dataset.transition_count} transitions")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
