"""
The kit for authors of storage plugins: the contract of a backend as tests, and what those tests need.

Shipped with the gateway; needs pytest and pytest-asyncio (``recording-gateway[testing]``).
A plugin's whole test file is a subclass of `gateway.testing.conformance.BackendConformance` and one fixture;
``docs/plugins/conformance.md`` says what each test wants.
"""

import pytest

# Failures are to show what differed, as those of a test file do.
pytest.register_assert_rewrite("gateway.testing.conformance")
