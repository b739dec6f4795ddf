"""
The hash, against values that others have published (those of rclone's own tests, taken from the real OneDrive).
"""

import base64

import pytest
from gateway_onedrive.quickxor import QuickXor

from gateway.testing.sources import pattern
from tests.emulators.cloud import Content
from tests.emulators.onedrive.drives import quick_xor

PUBLISHED = [
    ("", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    ("Sg==", "SgAAAAAAAAAAAAAAAQAAAAAAAAA="),
    ("tbQ=", "taAFAAAAAAAAAAAAAgAAAAAAAAA="),
    ("0pZP", "0rDEEwAAAAAAAAAAAwAAAAAAAAA="),
    ("/aNzzCFPS/A=", "/RjFHJgRgicsAR4ACAAAAAAAAAA="),
    ("i+UZyUGJKh+ISbk=", "iyhHBpIRhESo4AOIQ0IuAAAAAAA="),
    ("gQaybEqS/4UlDc8e4IJm", "gDCALNigBEn8oxAlZ8AzPAAOQZg="),
    ("T6LYJIfDh81JrAK309H2JMJTXis=", "zBTHrspn3mEcohlJdIUAbjGNaNg="),
    ("NbYXsp5/K6mR+NmHwExjvWeWDJFnXTKWVlzYHoesp2E=", "wjuAuWDiq04qDt1R8hHWDDcwVoQ="),
    (
        "Mb7EGva2rEE5fENDL85P+BsapHEEjv2/siVhKjvAQe02feExVOQSkfmuYzU/kTF1MaKjPmKF/w+cbvwfdWL8aQ==",
        "n1anP5NfvD4XDYWIeRPW3ZkPv1Y=",
    ),
    (
        (
            "qwGf2ESubE5jOUHHyc94ORczFYYbc2OmEzo+hBIyzJiNwAzC8PvJqtTzwkWkSslgHFGWQZR2BV5+uYTrYT7HVwRM40vqfj0dBgeDENyT"
            "enIOL1LHkjtDKoXEnQ0mXAHoJ8PjbNC93zi5TovVRXTNzfGEs5dpWVqxUzb5lc7dwkyvOluBw482mQ4xrzYyIY1t+//OrNi1ObGXuUw2"
            "jBQOFfJVj2Y6BOyYmfB1y36eBxi3zxeG5d5NYjm2GSh6e08QMAwu3zrINcqIzLOuNIiGXBtl7DjKt7b5wqi4oFiRpZsCyx2smhSrdrtK"
            "/CkdU6nDN+34vSR/M8rZpWQdBE7a8g=="
        ),
        "WYT9JY3JIo/pEBp+tIM6Gt2nyTM=",
    ),
]


@pytest.mark.parametrize(("content", "published"), PUBLISHED, ids=lambda text: text[:6])
@pytest.mark.parametrize("step", [1, 7, 159, 160, 161, 1000])
def test_the_published_values_come_out_however_the_bytes_come_in(
    content: str, published: str, step: int
) -> None:
    told = QuickXor()
    whole = base64.b64decode(content)
    for start in range(0, len(whole), step):
        told.update(whole[start : start + step])
    assert base64.b64decode(published).hex() == told.hexdigest()


@pytest.mark.parametrize("size", [1, 159, 160, 161, 320, 479, 100_000, (1 << 20) + 3])
def test_two_ways_of_working_it_out_agree(tmp_path, size: int) -> None:  # type: ignore[no-untyped-def]
    content = Content(tmp_path)
    content.append(pattern(size))
    told = QuickXor()
    told.update(pattern(size))
    assert base64.b64decode(quick_xor(content)).hex() == told.hexdigest()


@pytest.mark.parametrize("size", [334, 10_001])
def test_a_hash_can_be_gone_on_with(size: int) -> None:
    whole = QuickXor()
    whole.update(pattern(size))
    first = QuickXor()
    first.update(pattern(size)[:333])
    second = QuickXor(first.ring, first.length)
    second.update(pattern(size)[333:])
    assert whole.hexdigest() == second.hexdigest()
