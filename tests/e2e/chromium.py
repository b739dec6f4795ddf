"""
A real browser, looking at a gateway in this process.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

from playwright.async_api import BrowserContext, Page, async_playwright

from gateway.settings import passed_environment

PICTURES: Final = Path(__file__).parents[2] / "docs" / "pictures"
AXE: Final = Path(__file__).parents[1] / "clients" / "js" / "node_modules" / "axe-core" / "axe.min.js"
"""What judges whether people who see, hear or move little can use a page."""
_ARGUMENTS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_WIDE: Final = {"width": 1100, "height": 800}
_NARROW: Final = {"width": 390, "height": 800}
_JUDGE: Final = """async () => {
    const { violations } = await axe.run(document, { resultTypes: ["violations"] });
    return violations
        .filter(({ impact }) => impact === "serious" || impact === "critical")
        .flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html}: ${node.failureSummary}`));
}"""


class Watched:
    """
    One page, on which nothing may go wrong behind a person's back.
    """

    def __init__(self, page: Page, scheme: Literal["light", "dark"]) -> None:
        self.page = page
        self._scheme = scheme
        self.complaints: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _on_console(self, message: Any) -> None:
        # A refused request is what some tests are about.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    async def judge(self, name: str) -> None:
        """
        Have the page judged as it stands, in light and dark, wide and narrow: axe may find nothing serious or critical.
        """
        page, before = self.page, self.page.viewport_size
        # By the debugger's way in, which no Content-Security-Policy of the page stands in.
        await page.evaluate(AXE.read_text(encoding="utf-8"))
        found: list[str] = []
        for size in (_WIDE, _NARROW):
            await page.set_viewport_size(size)  # type: ignore[arg-type]
            for scheme in ("light", "dark"):
                await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                violations = await page.evaluate(_JUDGE)
                found += [f"{name}, {size['width']} px, {scheme}: {violation}" for violation in violations]
        await page.emulate_media(color_scheme=self._scheme)
        if before is not None:
            await page.set_viewport_size(before)
        assert not found, "\n".join(found)

    async def picture(self, name: str) -> None:
        """
        Judge the page, and take a picture for the documentation, where that is wanted; nothing may be wider than the window.
        """
        await self.judge(name)
        await self.fits(name)
        if "PICTURES" in passed_environment():
            PICTURES.mkdir(exist_ok=True)
            await self.page.screenshot(path=PICTURES / f"{name}.png", full_page=True)

    async def fits(self, name: str) -> None:
        """
        Make sure that nothing is wider than the window.
        """
        overflow = await self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0, f"{name} is {overflow} pixels wider than its window"


@asynccontextmanager
async def chromium(
    url: str, *, is_narrow: bool = False, is_dark: bool = False, **options: Any
) -> AsyncIterator[Watched]:
    """
    Open a window at *url*'s first page; on leaving, whatever was complained about in its console fails the test.
    """
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_ARGUMENTS)
        try:
            context: BrowserContext = await browser.new_context(
                base_url=url,
                viewport=_NARROW if is_narrow else _WIDE,  # type: ignore[arg-type]
                color_scheme="dark" if is_dark else "light",
                locale="en-GB",
                **options,
            )
            context.set_default_timeout(20_000)
            watched = Watched(await context.new_page(), "dark" if is_dark else "light")
            yield watched
            assert [] == watched.complaints
        finally:
            await browser.close()
