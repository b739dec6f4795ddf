"""
The page that every pretend cloud has for people.
"""

import urllib.parse
import urllib.request

from tests.emulators.gdrive import DriveEmulator


def opened(url: str, **form: str) -> str:
    """
    Return the page that a browser ends up at, having pressed a button if there is a form.
    """
    data = urllib.parse.urlencode(form).encode() if form else None
    with urllib.request.urlopen(url, data, timeout=30) as page:
        return str(page.read().decode())


def test_the_page_shows_the_files_and_its_buttons_do_what_they_say() -> None:
    with DriveEmulator() as cloud:
        account, other = cloud.new_account(), cloud.new_account("Bo <b>")
        content = cloud.new_content()
        content.append(b"12345")
        file_id = cloud.drive(account).create({"name": "<b>call</b>"}, content).id
        cloud.oauth.grant(account, cloud.scopes())

        page = opened(cloud.url)
        assert "&lt;b&gt;call&lt;/b&gt;" in page
        assert "5 bytes of 16.1 GB" in page
        assert "Programs that have access: 1" in page
        assert "Bo &lt;b&gt;" in page

        by_hand = f"{cloud.url}/by-hand/{account.subject}"
        assert "Free the quota" in opened(f"{by_hand}/fill", press="yes")
        assert (5, 15 << 30) == (account.quota, other.quota)
        assert "Free the quota" not in opened(f"{by_hand}/free", press="yes")
        assert 15 << 30 == account.quota
        assert "Programs that have access: 1" not in opened(f"{by_hand}/revoke", press="yes")
        assert "call" not in opened(f"{by_hand}/delete", file=file_id)
        assert {} == account.files
