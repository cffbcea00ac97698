"""A data set of minloro for Minari: `python tutorials/to_minari.py D.npz DATASET-ID`. Needs minari[hdf5] (0.5), not minloro.

DATASET-ID is a name such as cartpole/qwen2.5-7b-v0; the data set is written to the folder MINARI_DATASETS_PATH (by default
~/.minari/datasets), from where `minari.load_dataset(DATASET-ID)` reads it. Nothing is lost:

- An episode of N steps has N + 1 observations, the last of them the s' of its last row.
- `terminations` and `truncations` are `terminated` and `truncated`. The last row of an episode that was merely left
  unfinished is truncated, as Minari's own collector marks it.
- Minari numbers the episodes from 0 on. The metadata of D stand in the description, as JSON.

Pong's D is not converted: its observations are minloro's own, and Minari would note the spaces of another game.
"""

import json
import sys
from zipfile import BadZipFile

import gymnasium as gym
import minari
import numpy as np
from minari.data_collector import EpisodeBuffer


def to_minari(data: dict[str, np.ndarray], dataset_id: str) -> minari.MinariDataset:
    """Write the columns and the metadata of D as a Minari data set and return it."""
    metadata = json.loads(str(data["metadata"]))
    if metadata["environment"] == "ALE/Pong-v5":
        raise ValueError("pong's observations are not those of ALE/Pong-v5: it cannot be converted")
    starts = np.flatnonzero(np.append(True, data["episode"][1:] != data["episode"][:-1]))
    episodes = []
    for rows in map(slice, starts, [*starts[1:], len(data["episode"])]):
        observations, following = data["observations"][rows], data["next_observations"][rows]
        if (following[:-1] != observations[1:]).any():
            raise ValueError(f"rows are missing within episode {data['episode'][rows][0]}: Minari cannot hold it")
        terminated, truncated = data["terminated"][rows], data["truncated"][rows].copy()
        truncated[-1] |= not terminated[-1]
        episodes.append(
            EpisodeBuffer(
                observations=np.concatenate([observations, following[-1:]]),
                actions=data["actions"][rows],
                rewards=data["rewards"][rows],
                terminations=terminated,
                truncations=truncated,
            )
        )
    env = gym.make(metadata["environment"], max_episode_steps=metadata.get("collection_step_limit"))
    model, description = metadata.get("model"), json.dumps(metadata)
    return minari.create_dataset_from_buffers(dataset_id, episodes, env, algorithm_name=model, description=description)


def main(argv: list[str]) -> int:
    """Convert argv[0] to the data set argv[1]; return the exit status."""
    try:
        source, dataset_id = argv
        with np.load(source, allow_pickle=False) as file:
            dataset = to_minari({name: file[name] for name in file.files}, dataset_id)
    except (OSError, EOFError, KeyError, ValueError, BadZipFile, gym.error.Error) as error:
        print(f"error: {error} (python tutorials/to_minari.py D.npz DATASET-ID)", file=sys.stderr)
        return 2
    print(f"{dataset_id}: {dataset.total_episodes} episodes, {dataset.total_steps} steps")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
