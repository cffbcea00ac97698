"""The page of findings: its defects can be shown, its links lead somewhere, its commands exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "tutorials" / "findings.md").read_text(encoding="utf-8")
DATA = ROOT.parent / "shared" / "data"


@pytest.mark.skipif(not (DATA / "original").is_dir(), reason="the published data are not in ../shared/data")
def test_every_defect_shows_on_the_published_files():
    run = [sys.executable, "tutorials/defects.py", str(DATA)]
    out = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for shown in (
        "cartpole: the simulator confirms 36% of the rows as stored, 100%",
        "cliffwalking: the simulator confirms 56% of the rows as stored, 100%",
        "= 27,079 (published 27,078); the first alone: 26,196",
        "= -10,437 (published -10,436); the first alone: -12,775",
        "cliffwalking: 26 of 30 episodes stored as terminated were cut off; the longest has 200 steps",
    ):
        assert shown in out
    assert len(re.findall(r"^\d\. ", out, re.MULTILINE)) == 8
    shown_here = re.findall(r"^    (.*)$", PAGE.partition("## The defects")[2].partition("\n## ")[0], re.MULTILINE)
    assert shown_here and all(line.strip() in out for line in shown_here)


def test_missing_data_are_one_line(tmp_path):
    run = subprocess.run([sys.executable, "tutorials/defects.py", str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2 and run.stderr.startswith("error: ") and run.stderr.count("\n") == 1


def test_what_the_page_names_exists():
    for link in re.findall(r"\]\(([^)#]+)", PAGE):
        assert link.startswith("http") or (ROOT / "tutorials" / link).exists(), link
    for script in re.findall(r"`python (?!-m)([^\s`]+)", PAGE):
        assert (ROOT / script).exists(), script
