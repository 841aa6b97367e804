"""What is in a page, by the standard library's parser."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = "meta", "input", "br", "img", "link"


@dataclass
class Page(HTMLParser):
    """Elements as (tag, attributes), and all text outside of style and script; AssertionError where tags do not nest."""

    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    words: str = ""
    _open: list[str] = field(default_factory=list)

    def __post_init__(self):
        super().__init__()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        if not {"style", "script"} & set(self._open):
            self.words += data

    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        return [found for name, found in self.elements if name == tag and wanted.items() <= found.items()]


def read(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert not page._open
    return page
