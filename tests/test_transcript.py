"""The transcript of a model's replies, and the policy that turns replies into actions."""

import json
import subprocess
import sys

import pytest

from minloro.errors import UserError
from minloro.llm.model import Reply
from minloro.llm.policy import LLMPolicy
from minloro.llm.transcript import BudgetSpent, Transcript


class Scripted:
    """An LLM for tests that answers from a list and counts how often it was asked."""

    name = "scripted"
    source = "scripted"

    def __init__(self, *texts):
        self.texts = list(texts)
        self.asked = []

    def request(self, messages):
        return {"model": "scripted", "messages": messages}

    def complete(self, messages, sample):
        text = self.texts[len(self.asked) % len(self.texts)]
        self.asked.append((messages, sample))
        return Reply(text, "scripted-1", "stop", {"prompt_tokens": 5})


def test_every_call_is_one_line_before_its_action_is_used(tmp_path, cartpole):
    path = tmp_path / "llm.jsonl"
    messages = cartpole.prompt.messages([0, 0, 0, 0], [])
    with Transcript(path) as transcript:
        transcript.ask(Scripted("Action: 2"), messages, (7, 1, 2, 0), str.strip)
        line = json.loads(path.read_text())  # on disk while the file is still open
    sample = {"seed": 7, "episode": 1, "step": 2, "attempt": 0}
    reply = {"reply": "Action: 2", "model": "scripted-1", "finish_reason": "stop"}
    rest = {"usage": {"prompt_tokens": 5}, "parsed": True}
    assert line.items() >= (sample | reply | rest).items()
    assert len(line["prompt_sha256"]) == len(line["key"]) == 64


def test_a_known_sample_is_not_asked_again(tmp_path):
    messages = [{"role": "user", "content": "a"}]
    other = [{"role": "user", "content": "b"}]
    with Transcript(tmp_path / "llm.jsonl") as transcript:
        first = transcript.ask(Scripted("one"), messages, (0, 0, 0, 0), str.upper)
    llm = Scripted("new")
    with Transcript(tmp_path / "llm.jsonl") as transcript:
        assert transcript.ask(llm, messages, (0, 0, 0, 0), str.upper) == first and not llm.asked
        for other_sample in ((0, 0, 1, 0), (0, 1, 0, 0), (1, 0, 0, 0)):
            assert transcript.ask(llm, messages, other_sample, str.upper)[1] == "NEW"
        assert transcript.ask(llm, other, (0, 0, 0, 0), str.upper)[1] == "NEW"
    assert len(llm.asked) == 4 and len((tmp_path / "llm.jsonl").read_text().splitlines()) == 5


def test_a_torn_last_line_is_dropped(tmp_path):
    path = tmp_path / "llm.jsonl"
    messages = [{"role": "user", "content": "ä"}]
    with Transcript(path) as transcript:
        for step in range(3):
            transcript.ask(Scripted("one"), messages, (0, 0, step, 0), str)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    llm = Scripted("one")
    with Transcript(path) as transcript:
        for step in range(3):
            transcript.ask(llm, messages, (0, 0, step, 0), str)
    assert [sample for _, sample in llm.asked] == [(0, 0, 2, 0)]
    assert path.read_bytes() == whole


def test_a_damaged_file_is_kept_and_reported(tmp_path):
    path = tmp_path / "llm.jsonl"
    for content in (b"hello\n", b"[]\n", b'{"key": 1}\n', b"\xff\xfe\n"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="damaged"):
            Transcript(path)
        assert path.read_bytes() == content


def test_an_unreadable_reply_is_asked_again_once_then_replaced(cartpole):
    llm = Scripted("no idea", "Action: 2")
    policy = LLMPolicy(cartpole, llm, seed=0)
    assert policy.choose([0, 0, 0, 0], [], 0, episode=3) == (1, "retry")
    (first, sample), (second, retry_sample) = llm.asked
    assert (sample, retry_sample) == ((0, 3, 0, 0), (0, 3, 0, 1))
    assert second[: len(first)] == first
    assert second[-2:] == [
        {"role": "assistant", "content": "no idea"},
        {"role": "user", "content": cartpole.prompt.reminder},
    ]
    assert policy.counts == {"calls": 2, "parse_failures": 1, "fallbacks": 0, "tokens": 10}

    policy = LLMPolicy(cartpole, Scripted("no idea"), seed=0)
    actions = [policy.choose([0, 0, 0, 0], [], step, episode=0) for step in range(200)]
    assert {source for _, source in actions} == {"fallback"}
    assert 60 < sum(action for action, _ in actions) < 140  # random, not one fixed action
    assert policy.counts == {"calls": 400, "parse_failures": 400, "fallbacks": 200, "tokens": 2000}
    again = LLMPolicy(cartpole, Scripted("no idea"), seed=0)
    assert [again.choose([0, 0, 0, 0], [], step, episode=0) for step in range(200)] == actions


def test_two_processes_cannot_have_one_file(tmp_path):
    path = tmp_path / "llm.jsonl"
    code = f"from minloro.llm.transcript import Transcript\nTranscript({str(path)!r})"
    with Transcript(path):
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert result.returncode == 1 and "another process is collecting" in result.stderr
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_budget_counts_new_calls_only(tmp_path):
    messages = [{"role": "user", "content": "a"}]
    with Transcript(tmp_path / "llm.jsonl", budget=3) as transcript:
        for step in range(3):
            transcript.ask(Scripted("one"), messages, (0, 0, step, 0), str)
        with pytest.raises(BudgetSpent):
            transcript.ask(Scripted("one"), messages, (0, 0, 3, 0), str)
    with Transcript(tmp_path / "llm.jsonl", budget=1) as transcript:
        for step in range(4):
            transcript.ask(Scripted("one"), messages, (0, 0, step, 0), str)


def test_an_answer_that_was_cut_off_is_a_counted_failure(cartpole):
    class CutOff(Scripted):
        def complete(self, messages, sample):
            self.asked.append((messages, sample))
            return Reply("I think\nAction: 1", "m", "length")

    policy = LLMPolicy(cartpole, CutOff(), seed=0)
    assert policy.choose([0, 0, 0, 0], [], 0, episode=0)[1] == "fallback"
    assert policy.counts["parse_failures"] == 2


def test_a_long_reply_is_not_sent_back_whole(cartpole):
    llm = Scripted("x" * 1_000_000, "Action: 1")
    assert LLMPolicy(cartpole, llm, seed=0).choose([0, 0, 0, 0], [], 0, episode=0) == (0, "retry")
    assert len(llm.asked[1][0][-2]["content"]) == 500
