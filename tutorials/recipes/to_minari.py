"""From a data set of minloro to Minari: `python tutorials/recipes/to_minari.py D.npz DATASET-ID`.

It needs minari[hdf5] (0.5), not minloro. DATASET-ID is a name such as cartpole/qwen2.5-7b-v0. The
data set is written to the folder MINARI_DATASETS_PATH (by default ~/.minari/datasets), and
`minari.load_dataset(DATASET-ID)` reads it from there. Nothing is lost:

- An episode of N steps has N + 1 observations. The last of them is the s' of its last row.
- `terminations` and `truncations` are `terminated` and `truncated`. If an episode was left
  unfinished, its last row is truncated: Minari's own collector marks it in the same way.
- Minari counts the episodes from 0 on. The metadata of D stand in the description, as JSON.

Pong's D is not converted. Its observations are minloro's own, and Minari would note the spaces of
another game.
"""

import json
import sys
from zipfile import BadZipFile

import gymnasium as gym
import minari
import numpy as np
from minari.data_collector import EpisodeBuffer

USAGE = "python tutorials/recipes/to_minari.py D.npz DATASET-ID"
COLUMNS = ("observations", "actions", "rewards", "next_observations", "terminated", "truncated")
ERRORS = (OSError, EOFError, KeyError, ValueError, BadZipFile, gym.error.Error)


def to_minari(data: dict[str, np.ndarray], dataset_id: str) -> minari.MinariDataset:
    """Write the columns and the metadata of D as a Minari data set and return it."""
    metadata = json.loads(str(data["metadata"]))
    if metadata["environment"] == "ALE/Pong-v5":
        raise ValueError("pong's observations are not those of ALE/Pong-v5: it cannot be converted")
    step_limit = metadata.get("collection_step_limit")
    return minari.create_dataset_from_buffers(
        dataset_id,
        episode_buffers(data),
        gym.make(metadata["environment"], max_episode_steps=step_limit),
        algorithm_name=metadata.get("model"),
        description=json.dumps(metadata),
    )


def episode_buffers(data: dict[str, np.ndarray]) -> list[EpisodeBuffer]:
    """Return the episodes of D."""
    episode = data["episode"]
    first_rows = np.flatnonzero(np.append(True, episode[1:] != episode[:-1]))
    ends = [*first_rows[1:], len(episode)]
    buffers = []
    for start, end in zip(first_rows, ends, strict=True):
        part = {name: data[name][start:end] for name in COLUMNS}
        if (part["next_observations"][:-1] != part["observations"][1:]).any():
            raise ValueError(
                f"rows are missing within episode {episode[start]}: Minari cannot hold it"
            )
        buffers.append(episode_buffer(part))
    return buffers


def episode_buffer(part: dict[str, np.ndarray]) -> EpisodeBuffer:
    """Return one episode as Minari takes it."""
    truncated = part["truncated"].copy()
    truncated[-1] |= not part["terminated"][-1]
    last_observation = part["next_observations"][-1:]
    return EpisodeBuffer(
        observations=np.concatenate([part["observations"], last_observation]),
        actions=part["actions"],
        rewards=part["rewards"],
        terminations=part["terminated"],
        truncations=truncated,
    )


def main(argv: list[str]) -> int:
    """Convert argv[0] to the data set argv[1]; return the exit status."""
    try:
        source, dataset_id = argv
        with np.load(source, allow_pickle=False) as file:
            dataset = to_minari({name: file[name] for name in file.files}, dataset_id)
    except ERRORS as error:
        print(f"error: {error} ({USAGE})", file=sys.stderr)
        return 2
    print(f"{dataset_id}: {dataset.total_episodes} episodes, {dataset.total_steps} steps")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
