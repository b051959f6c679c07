"""The page in Chromium: whole without scripts, alone, and readable on a phone, in the dark and by a screen reader."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from ledger.page.document import MAX_EPOCHS, PageView, render_page
from ledger.page.style import CONTENT_TYPE, FIELDS
from seclude.daemon.answering import answering
from seclude.daemon.messages import Request, Response
from seclude.daemon.server import Server
from tests.ledger.browser import browser
from tests.ledger.page_samples import HOSTILE, busy, empty, hostile, largest

VIEWS = {"busy": busy, "empty": empty, "hostile": hostile}
TITLE = "Public ledger of assistant.example"
SECTIONS = ["Releases", "Epochs", "Witnesses", "Checkpoints", "Publishers", "How to verify"]
PHONE, SCREEN = 360, 1280
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
CUT = """Array.from(document.querySelectorAll("main *"))
    .filter(each => each.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
    .map(each => each.tagName + ": " + each.innerText.slice(0, 40))"""
# WCAG 2.2, "contrast ratio"; the ground under a letter is the nearest one that is painted.
CONTRASTS = """(() => {
    const channel = value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const light = colour => {
        const [r, g, b] = colour.match(/[0-9.]+/g).slice(0, 3).map(value => channel(value / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = each => {
        for (let place = each; place; place = place.parentElement) {
            const colour = getComputedStyle(place).backgroundColor;
            if (colour !== "rgba(0, 0, 0, 0)") return colour;
        }
    };
    return Array.from(document.querySelectorAll("body *"))
        .filter(each => Array.from(each.childNodes).some(node => node.nodeType === 3 && node.data.trim()))
        .map(each => {
            const [a, b] = [light(getComputedStyle(each).color), light(ground(each))].sort((x, y) => y - x);
            return [(a + 0.05) / (b + 0.05), each.tagName + ": " + each.innerText.slice(0, 40)];
        });
})()"""


@asynccontextmanager
async def served(page: bytes) -> AsyncIterator[tuple[str, list[str]]]:
    """Serve a page as the ledger does; yields its address, and every path that is asked for."""
    asked: list[str] = []

    async def answer(request: Request) -> Response:
        asked.append(request.path)
        return Response(200, CONTENT_TYPE, page, FIELDS) if request.path == "/" else Response(404)

    server = Server(answering(answer))
    address = await server.start("127.0.0.1:0")
    try:
        yield f"http://{address}/", asked
    finally:
        await server.drain(0.1)


async def test_a_browser_shows_all_of_it_without_scripts_and_asks_for_nothing_else(tmp_path: Path) -> None:
    async with served(render_page(busy())) as (url, asked), browser(tmp_path) as tab:
        await tab.open(url)
        assert await tab.texts("h1") == [TITLE]
        assert await tab.texts("h2") == SECTIONS
        assert len(await tab.texts("#epochs tbody tr")) == MAX_EPOCHS
        assert len(await tab.texts("#releases article")) == 5, "the snapshot, three releases, and what is revoked"
        witnesses = [row.split("\t")[:2] for row in await tab.texts("#witnesses thead ~ tbody tr")]
        assert witnesses == [[name, log] for name in ("north", "east", "south") for log in ("keys", "state")]
        standing = await tab.texts(".standing")
        assert [each.split(":")[0] for each in standing] == ["Accepted.", "Expired", "Published, not mature yet"]
        await tab.evaluate("document.querySelector('details').open = true")
        assert await tab.evaluate("document.querySelector('details > pre').offsetHeight") > 0
        assert tab.complaints() == []
    assert asked == ["/"]


@pytest.mark.parametrize("name", VIEWS)
async def test_it_fits_on_a_phone_and_on_a_screen_and_can_be_read_in_the_dark(name: str, tmp_path: Path) -> None:
    async with served(render_page(VIEWS[name]())) as (url, asked), browser(tmp_path) as tab:
        for width, dark in (
            (PHONE, False),
            (SCREEN, True),
        ):  # no colour depends on the width
            await tab.open(url, width=width, dark=dark)
            assert await tab.evaluate("innerWidth") == width
            assert await tab.evaluate(WIDER) == 0
            assert await tab.evaluate(CUT) == []
            contrasts = await tab.evaluate(CONTRASTS)
            assert len(contrasts) > 40
            assert [what for contrast, what in contrasts if contrast < 4.5] == []
        assert tab.complaints() == []
    assert set(asked) == {"/"}


async def test_the_longest_page_fits_too(tmp_path: Path) -> None:
    async with served(render_page(largest())) as (url, _), browser(tmp_path) as tab:
        await tab.open(url, width=PHONE)
        assert await tab.evaluate(WIDER) == 0


@pytest.mark.parametrize("width", [PHONE, SCREEN])
async def test_a_screen_reader_finds_its_way(width: int, tmp_path: Path) -> None:
    async with served(render_page(busy())) as (url, _), browser(tmp_path) as tab:
        await tab.open(url, width=width)
        roles = await tab.roles()
        assert await tab.evaluate("document.documentElement.lang") == "en"
        assert await tab.evaluate("document.title") == TITLE
        assert {"main", "navigation"} <= set(roles)
        assert roles["region"] == SECTIONS
        assert all(roles["heading"])
        assert all(roles["table"]), "each table has a name"
        assert all(roles["link"])
        assert {"Slot starts", "Witness", "Publisher", "Reason"} <= set(roles["columnheader"])
        assert {"1001", "Manifest", "north"} <= set(roles["rowheader"])
        levels = await tab.evaluate("Array.from(document.querySelectorAll('h1,h2,h3'), each => +each.tagName[1])")
        assert all(after <= before + 1 for before, after in pairwise(levels))
        targets = await tab.evaluate("Array.from(document.links).map(each => each.hash).filter(hash => hash)")
        for target in targets:
            assert await tab.evaluate(f"document.querySelector('{target}').tagName") == "SECTION"
        assert len(targets) == len(SECTIONS)


async def test_the_keyboard_reaches_what_can_be_opened_and_shows_where_it_is(tmp_path: Path) -> None:
    async with served(render_page(busy())) as (url, _), browser(tmp_path) as tab:
        await tab.open(url)
        for _ in range(len(SECTIONS)):
            await tab.call("Input.dispatchKeyEvent", type="rawKeyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
        assert await tab.evaluate("document.activeElement.innerText") == SECTIONS[-1]
        assert await tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


async def test_a_printed_page_has_what_is_folded_on_the_screen(tmp_path: Path) -> None:
    async with served(render_page(busy())) as (url, _), browser(tmp_path) as tab:
        await tab.open(url)
        await tab.call("Emulation.setEmulatedMedia", media="print")
        assert await tab.evaluate("document.querySelector('details > pre').checkVisibility()")
        assert await tab.evaluate("document.querySelector('nav').offsetHeight") == 0
        assert [what for contrast, what in await tab.evaluate(CONTRASTS) if contrast < 7] == []


async def test_hostile_words_of_publishers_are_shown_as_words(tmp_path: Path) -> None:
    async with served(render_page(hostile())) as (url, asked), browser(tmp_path) as tab:
        await tab.open(url, scripts=True)
        assert await tab.evaluate("document.title") == TITLE
        assert await tab.texts("h1") == [TITLE]
        assert await tab.evaluate("document.querySelectorAll('script, img, b').length") == 0
        shown = await tab.texts("#releases bdi")
        assert {HOSTILE[0], HOSTILE[1], HOSTILE[3], HOSTILE[4]} <= set(shown)
        assert "https://good.example/[U+202E]gpj.exe[U+202C] and [U+2066]more[U+2069][U+200B]" in shown
        links = await tab.evaluate("Array.from(document.links, each => each.host)")
        assert set(links) == {url.split("/")[2]}, "none of these became a link; the page's own lead to itself"
        assert tab.complaints() == []
    assert set(asked) == {"/"}


async def test_markup_that_got_in_all_the_same_would_neither_run_nor_load(tmp_path: Path) -> None:
    """The second line of defence, which is the page's own policy; the browser says what it refused."""
    injected = b"<main><script>document.title='owned'</script><img src=/x.png><style>h1{display:none}</style>"
    async with served(render_page(busy()).replace(b"<main>", injected)) as (url, asked), browser(tmp_path) as tab:
        await tab.open(url, scripts=True)
        assert await tab.evaluate("document.title") == TITLE
        assert await tab.evaluate("document.querySelector('h1').offsetHeight") > 0
        refused = " ".join(tab.complaints())
        assert all(directive in refused for directive in ("script-src", "img-src", "style-src"))
    assert "/x.png" not in asked


@pytest.mark.drill
@pytest.mark.parametrize("view", [busy, empty, hostile, largest])
async def test_pictures_for_people_to_look_at(view: Callable[[], PageView], tmp_path: Path) -> None:
    async with served(render_page(view())) as (url, _), browser(tmp_path / "profile") as tab:
        for width, dark in ((PHONE, False), (PHONE, True), (SCREEN, False), (SCREEN, True)):
            await tab.open(url, width=width, dark=dark)
            picture = tmp_path / f"{view.__name__}-{width}-{'dark' if dark else 'light'}.png"
            await asyncio.to_thread(picture.write_bytes, await tab.picture())
            print(picture)
