"""The page of findings: its defects can be shown, its links lead somewhere, its commands exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STUDIES = ROOT / "tutorials" / "studies"
PAGE = (STUDIES / "findings.md").read_text(encoding="utf-8")
DATA = ROOT.parent / "shared" / "data"
SHOWN = (
    "cartpole: the simulator confirms 36% of the rows as stored, 100%",
    "cliffwalking: the simulator confirms 56% of the rows as stored, 100%",
    "= 27,079 (published 27,078); the first alone: 26,196",
    "= -10,437 (published -10,436); the first alone: -12,775",
    "cliffwalking: 26 of 30 episodes stored as terminated were cut off; the longest has 200 steps",
)


def show_defects(folder):
    """Run the script of the defects on a folder of published data."""
    command = [sys.executable, "tutorials/studies/defects.py", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.skipif(
    not (DATA / "original").is_dir(), reason="the published data are not in ../shared/data"
)
def test_every_defect_shows_on_the_published_files():
    done = show_defects(DATA)
    assert done.returncode == 0, done.stderr
    for shown in SHOWN:
        assert shown in done.stdout
    assert len(re.findall(r"^\d\. ", done.stdout, re.MULTILINE)) == 8
    section = PAGE.partition("## The defects")[2].partition("\n## ")[0]
    shown_here = re.findall(r"^    (.*)$", section, re.MULTILINE)
    assert shown_here and all(line.strip() in done.stdout for line in shown_here)


def test_missing_data_are_one_line(tmp_path):
    done = show_defects(tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_what_the_page_names_exists():
    for link in re.findall(r"\]\(([^)#]+)", PAGE):
        assert link.startswith("http") or (STUDIES / link).exists(), link
    scripts = re.findall(r"`python (?!-m)([^\s`]+)", PAGE)
    assert scripts
    for script in scripts:
        assert (ROOT / script).exists(), script
