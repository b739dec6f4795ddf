"""
That the kit tells a right backend from a wrong one, and by which test.
"""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from gateway.testing.memory import MemoryBackend
from gateway.testing.mutants import MUTANTS
from tests.support.tree import ROOT

Failures = dict[str, set[str]]


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> Failures:
    report = tmp_path_factory.mktemp("kit") / "report.xml"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist"),
            *(f"--junitxml={report}", Path(__file__).with_name("every_mutant.py")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: Failures = defaultdict(set)
    for case in ET.parse(report).iter("testcase"):
        suite = case.attrib["classname"].rpartition(".Test")[2]
        found[suite].update(
            case.attrib["name"].partition("[")[0] for part in case if part.tag in ("failure", "error")
        )
    return dict(found)


def test_the_reference_passes_everything(failures: Failures) -> None:
    assert set() == failures[MemoryBackend.__name__]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_mutant_fails_the_test_meant_for_it_and_only_that(
    failures: Failures, mutant: type[MemoryBackend]
) -> None:
    assert {MUTANTS[mutant]} == failures[mutant.__name__]
