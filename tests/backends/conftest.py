"""
What the tests of backends share.
"""

import pytest

# Its failures are to show what differed, as those of a test file do.
pytest.register_assert_rewrite("tests.backends.conformance")
