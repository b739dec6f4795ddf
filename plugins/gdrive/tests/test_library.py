"""
Google's library is made once for each address of the API, and threads share it.
"""

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

from gateway_gdrive.client import _library

ADDRESSES = ["https://one.example/", "https://two.example/"]


def test_requests_of_many_threads_do_not_mix() -> None:
    def address_of(number: int) -> tuple[str, str, list[str]]:
        files = _library(ADDRESSES[number % 2]).files
        url = urlsplit(files.get(fileId=f"id-{number}", fields=f"field{number}").uri)
        return f"{url.scheme}://{url.netloc}/", url.path, parse_qs(url.query)["fields"]

    with ThreadPoolExecutor(8) as threads:
        asked = list(threads.map(address_of, range(200)))

    assert [
        (ADDRESSES[number % 2], f"/drive/v3/files/id-{number}", [f"field{number}"]) for number in range(200)
    ] == asked


def test_it_is_made_once_for_each_address() -> None:
    one, two = map(_library, ADDRESSES)
    assert one is _library(ADDRESSES[0])
    assert one is not two
