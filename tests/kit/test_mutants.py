"""
That the kit tells what is right from what is wrong, and by which test.
"""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from gateway.testing.memory import MemoryBackend
from gateway.testing.mutants import FAULT_MUTANTS, MUTANTS, ReadsInOnePiece
from gateway.testing.provider import ProviderBackend
from tests.kit import every_table
from tests.kit.every_mutant import AMONG_OTHERS
from tests.support.tree import ROOT

RIGHT = [
    # Under small data no blob is larger than a piece may be.
    ReadsInOnePiece.__name__ + AMONG_OTHERS,
    MemoryBackend.__name__,
    MemoryBackend.__name__ + AMONG_OTHERS,
    ProviderBackend.__name__,
    "Table",
    "Profile",
]
WRONG_AMONG_OTHERS = {
    mutant.__name__ + AMONG_OTHERS: test for mutant, test in MUTANTS.items() if mutant is not ReadsInOnePiece
}
WRONG = {
    **{mutant.__name__: test for mutant, test in MUTANTS.items()},
    **{mutant.__name__: test for mutant, test in FAULT_MUTANTS.items()},
    **{suite.__name__.removeprefix("Test"): test for suite, test in every_table.MUTANTS.items()},
}
WITHOUT_LONG = " or ".join([f"not {AMONG_OTHERS}", *(name for name in RIGHT if name.endswith(AMONG_OTHERS))])
Failures = dict[str, set[str]]


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Failures:
    report = tmp_path_factory.mktemp("kit") / "report.xml"
    files = [Path(__file__).with_name(name) for name in ("every_mutant.py", "every_table.py")]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist"),
            *(f"--junitxml={report}", *files),
            *([] if pytestconfig.getoption("--torture") else ["-k", WITHOUT_LONG]),
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


@pytest.mark.parametrize("right", RIGHT)
def test_what_is_right_passes_everything(failures: Failures, right: str) -> None:
    assert set() == failures[right]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_fails_the_test_meant_for_it_and_only_that(failures: Failures, wrong: str) -> None:
    assert {WRONG[wrong]} == failures[wrong]


@pytest.mark.torture
@pytest.mark.parametrize("wrong", WRONG_AMONG_OTHERS)
def test_among_others_too_it_fails_that_test_and_only_that(failures: Failures, wrong: str) -> None:
    assert {WRONG_AMONG_OTHERS[wrong]} == failures[wrong]
