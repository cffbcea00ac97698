"""minloro: LORO (arXiv 2505.10861) in pure NumPy.

A language model plays, and reinforcement learning is warm-started with what it did.

The names below are imported when they are first used. So `python -m minloro --help` answers at
once, and the command line can hold BLAS to one thread before NumPy is loaded.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_MODULE_OF = {
    "Task": "tasks.task",
    "make_task": "tasks.registry",
    "TASK_NAMES": "tasks.registry",
    "LanguageModel": "llm.model",
    "ChatClient": "llm.client",
    "StandInLLM": "llm.standin",
    "LLMPolicy": "llm.policy",
    "Prompt": "llm.prompt",
    "ContinuousPrompt": "llm.prompt",
    "Transitions": "transitions",
    "ReplayBuffer": "replay",
    "Agent": "agents.agent",
    "FourierBasis": "agents.features",
    "RadialBasis": "agents.features",
    "TabularQ": "agents.tabular",
    "LinearQ": "agents.linear",
    "ActorCritic": "agents.actor_critic",
    "collect": "loro",
    "pretrain": "loro",
    "finetune": "loro",
    "Job": "arms",
    "run_arm": "arms",
    "collect_random": "arms",
    "evaluate": "rollout",
    "UserError": "errors",
}
__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'minloro' has no attribute {name!r}")
    return getattr(import_module(f"minloro.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
