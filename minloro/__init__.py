"""minloro: LORO (arXiv 2505.10861), reinforcement learning warm-started by a language model, in pure NumPy.

The names below are imported on first use, so that `python -m minloro --help` answers at once and the command line can
hold BLAS to one thread before NumPy is loaded.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "Task": "tasks", "make_task": "tasks", "TASK_NAMES": "tasks",
    "ChatClient": "llm.client", "LLMPolicy": "llm.policy", "StandInLLM": "llm.standin",
    "Prompt": "llm.prompts", "ContinuousPrompt": "llm.prompts",
    "Transitions": "transitions", "ReplayBuffer": "replay",
    "FourierBasis": "agents.features", "RadialBasis": "agents.features",
    "LinearQ": "agents.linear", "TabularQ": "agents.tabular", "ActorCritic": "agents.actor_critic",
    "collect": "loro", "collect_random": "loro", "pretrain": "loro", "finetune": "loro",
    "evaluate": "rollout", "UserError": "errors",
}  # fmt: skip
__all__ = ["__version__", *_HOME]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'minloro' has no attribute {name!r}")
    return getattr(import_module(f"minloro.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
