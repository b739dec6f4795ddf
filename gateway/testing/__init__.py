"""
The kit for authors of storage plugins: the contract of a backend as tests, and what those tests need.

Shipped with the gateway; needs pytest and pytest-asyncio (``recording-gateway[testing]``).
A plugin's whole test file is a subclass of `gateway.testing.conformance.BackendConformance` and one fixture;
``docs/plugins/conformance.md`` says what each test wants.
"""

from typing import Final

import pytest

SUITES: Final = ("conformance", "errors", "faults", "lint", "oauth", "resumable")
"""The modules that hold tests."""

# Failures are to show what differed, as those of a test file do.
pytest.register_assert_rewrite(*(f"{__name__}.{suite}" for suite in SUITES))
