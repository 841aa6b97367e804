"""A report in a real browser, opened from disk: it loads cleanly, filters, sorts, fits a phone, light and dark."""

from dataclasses import replace
import re
import shutil

from PIL import Image
import pytest

from askonce.student.showing.report import page
from askonce.student.showing.report.gather import gather
from tests.student.showing.report.conftest import EPISODES
from tests.student.showing.report.test_page import HOSTILE

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[test]'")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium")

ROWS = "#decisions > li:not([hidden])"
# Every text that is shown, against the nearest colour below it (WCAG 2: 4.5 : 1 and more).
CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = color => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = color => color.slice(0, 3).map(c => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const below = element => {
    for (; element; element = element.parentElement) {
      const color = rgba(getComputedStyle(element).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255];
  };
  const written = each => each.closest("main, header") && each.checkVisibility() &&
    [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim());
  return [...document.querySelectorAll("body *")].filter(written).map(each => {
    const style = getComputedStyle(each), color = each instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(rgba(color)), light(below(each))].sort((x, y) => y - x);
    return [(a + .05) / (b + .05), each.outerHTML.slice(0, 80)];
  }).filter(([contrast]) => contrast < 4.5);
}"""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as library:
        chromium = library.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(made, tmp_path_factory) -> str:
    """Of a report one of whose decisions does its worst."""
    found = gather(made.cache, [made.run], episodes=EPISODES)
    worst = replace(
        found.decisions[0],
        decision=HOSTILE,
        text=HOSTILE,
        reason=HOSTILE,
        model=HOSTILE,
        task=HOSTILE,
        completion="the worst",
        verdict="unparsable",
    )
    contents = {**found.contents, (HOSTILE, "the worst"): HOSTILE}
    to = tmp_path_factory.mktemp("pages") / "report.html"
    page.write(replace(found, decisions=[*found.decisions, worst], contents=contents), to)
    return to.as_uri()


@pytest.fixture
def open_page(browser, address):
    """Opens the report; at the end nothing was complained of, and nothing but the file was asked for."""
    heard, contexts = [], []

    def open_page(width: int = 1200, scheme: str = "light"):
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme))
        tab = contexts[-1].new_page()
        tab.on("console", lambda message: heard.append(message.text))
        tab.on("pageerror", lambda error: heard.append(str(error)))
        tab.on("request", lambda request: request.url != address and heard.append(request.url))
        tab.goto(address)
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert heard == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 375])
def test_fits_the_screen_and_can_be_read(open_page, tmp_path, width, scheme):
    tab = open_page(width, scheme)
    for row in tab.locator(ROWS).all()[:3]:
        row.locator("summary").first.click()
    tab.locator(f"{ROWS} .words summary").first.click()
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert tab.evaluate(CONTRASTS) == []
    tab.screenshot(path=tmp_path / "page.png", full_page=True)
    with Image.open(tmp_path / "page.png") as picture:
        assert picture.width == width and picture.height > 2000
        corner = picture.convert("L").getpixel((2, picture.height - 2))
        assert (corner > 200) == (scheme == "light")


def test_filters_and_search_narrow_the_list(open_page):
    tab = open_page()
    rows, form, chips = tab.locator(ROWS), tab.locator("#filters"), tab.locator(".chip")
    everything = tab.locator("#decisions > li").count()
    of = lambda name: rows.evaluate_all("(rows, name) => rows.map(row => row.dataset[name])", name)
    # What is sound is left out until it is asked for.
    assert 0 < rows.count() < everything and "sound" not in of("verdict")
    assert tab.locator("#count").inner_text() == f"{rows.count()} of {everything} decisions"
    chips.get_by_text("sound").click()
    assert rows.count() == everything
    for verdict in ("unparsable", "inconsistent", "incorrect", "undecided", "sound"):
        chips.get_by_text(verdict).click()
    assert set(of("verdict")) == {"inefficient"}
    form.get_by_text("Reset").click()
    tab.wait_for_function(f"document.querySelectorAll('{ROWS}').length > 0")
    costs = sorted((float(cost) for cost in of("cost") if cost), reverse=True)
    form.get_by_label("Cost at least").fill(str(costs[1]))
    assert all(float(cost) >= costs[1] for cost in of("cost")) and rows.count() >= 2
    form.get_by_label("Cost at least").fill("")
    form.get_by_label("Visits at least").fill("100")
    assert rows.count() == 0 and tab.locator("#none").is_visible()
    form.get_by_label("Visits at least").fill("")
    form.get_by_label("Student").select_option("kept")
    assert set(of("status")) == {"kept"}
    form.get_by_label("Student").select_option("")
    form.get_by_label("Task").select_option(index=2)
    assert rows.count() == 1
    form.get_by_label("Task").select_option("")
    form.get_by_label("Search").fill("WINDOW.hacked onerror=")
    assert rows.count() == 1
    form.get_by_label("Search").fill("{{ 49 }}")
    assert rows.count() == 0


def test_sorts_by_what_is_clicked_and_back(open_page):
    tab = open_page()
    values = lambda name: tab.locator(ROWS).evaluate_all("(rows, name) => rows.map(row => row.dataset[name])", name)
    head = lambda label: tab.locator(".heads").get_by_role("button", name=re.compile(f"^{label}"))
    for name, label in (("probability", "Probability"), ("visits", "Visits"), ("lost", "Cost × visits")):
        head(label).click()
        down = [float(value or "-inf") for value in values(name)]
        assert down == sorted(down, reverse=True)
    head("Decision").click()
    assert values("decision") == sorted(values("decision"))
    assert head("Decision").get_attribute("aria-pressed") == "true"
    head("Decision").click()
    assert values("decision") == sorted(values("decision"), reverse=True)


def test_the_keyboard_opens_a_decision(open_page):
    tab = open_page()
    row = tab.locator(ROWS).filter(has=tab.locator(".room")).first
    assert not row.locator(".room").first.is_visible()
    row.locator("summary").first.focus()
    tab.keyboard.press("Enter")
    assert row.locator(".room").count() == 2 and row.locator(".room").first.is_visible()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    assert row.locator("pre").is_visible()


def test_what_an_llm_wrote_does_not_run(open_page):
    tab = open_page()
    worst = tab.locator(ROWS).filter(has_text="window.hacked").first
    worst.locator("summary").first.click()
    worst.locator(".words summary").click()
    assert "onerror='window.hacked = 1'" in worst.locator("pre").inner_text()
    assert tab.evaluate("window.hacked") is None and tab.locator("img").count() == 0


def test_all_is_there_without_the_script(browser, address):
    tab = browser.new_context(java_script_enabled=False).new_page()
    tab.goto(address)
    assert tab.locator("#decisions > li").first.is_visible() and tab.locator(".chart").first.is_visible()
