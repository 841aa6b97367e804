"""Takes the picture of a report that docs/report.md shows: its first decisions, opened.

python docs/screenshot.py REPORT.html docs/report.png
"""

from pathlib import Path
import shutil
from typing import Annotated

from playwright.sync_api import sync_playwright
import typer

WIDTH, HEIGHT = 1180, 1010
OPENED = 1


def main(report: Path, to: Path, dark: Annotated[bool, typer.Option("--dark")] = False) -> None:
    with sync_playwright() as library:
        browser = library.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="dark" if dark else "light")
        page.goto(report.resolve().as_uri())
        for row in page.locator("#decisions > li:not([hidden])").all()[:OPENED]:
            row.locator("summary").first.click()
            row.locator(".words summary").click()
        page.locator("#decisions-title").evaluate("title => title.scrollIntoView()")
        page.screenshot(path=to)
        browser.close()


if __name__ == "__main__":
    typer.run(main)
