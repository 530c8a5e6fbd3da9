"""The chat page in a real browser: Debian's Chromium through Playwright."""

import shutil

import pytest
from playwright import sync_api

from server import serving

ANSWER = "The capital of France is Paris."


@pytest.fixture(scope="module")
def server(smollm2):
    with serving(smollm2, "--max-seq-len", 2048) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, server):
    context = browser.new_context(viewport={"width": 1100, "height": 800})
    page = context.new_page()
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("request", lambda request: page.problems.append(request.url) if not request.url.startswith((server.url, "data:")) else None)
    page.goto(server.url)
    page.evaluate('for (const [k, v] of [["temperature", "0"], ["max_tokens", "40"]]) { element(k).value = v; element(k).dispatchEvent(new Event("change")); }')
    yield page
    assert page.problems == []  # no script error, and nothing fetched from another place
    context.close()


def ask(page, text):
    """Asks, and waits for the whole answer; a short one may be there before anybody could see it come."""
    answers = len(page.query_selector_all(".message.assistant"))
    page.fill("#input", text)
    page.keyboard.press("Enter")
    page.wait_for_function("""answers => {
        const bodies = document.querySelectorAll(".message.assistant .body");
        return bodies.length > answers && bodies[bodies.length - 1].innerText.length > 0 && !running;
    }""", arg=answers, timeout=120000)


def test_answers_are_kept_and_can_be_made_again(page):
    ask(page, "What is the capital of France?")
    assert page.inner_text(".message.assistant .body") == ANSWER
    assert "tok/s" in page.inner_text(".message.assistant .meta")
    assert "context" in page.inner_text(".message.assistant .meta")
    page.reload()
    assert page.inner_text(".message.assistant .body") == ANSWER
    page.click("text=Regenerate")
    page.wait_for_selector("#stop", state="hidden", timeout=120000)
    page.wait_for_function("document.querySelector('.message.assistant .body')?.innerText.length > 5 && !running", timeout=120000)
    assert page.inner_text(".message.assistant .body") == ANSWER
    assert "from the cache" in page.inner_text(".message.assistant .meta")


def test_editing_goes_back(page):
    ask(page, "Hello there")
    page.click("text=Edit")
    assert page.input_value("#input") == "Hello there"
    assert page.query_selector(".message") is None
    ask(page, "What is the capital of France?")
    assert page.inner_text(".message.assistant .body") == ANSWER


def test_stop_keeps_what_there_is(page):
    page.evaluate('element("max_tokens").value = "1000"; element("temperature").value = "1"')
    page.fill("#input", "Write a very long story.")
    page.keyboard.press("Enter")
    page.wait_for_function("(document.querySelector('.message.assistant .body')?.innerText.length ?? 0) > 10", timeout=120000)
    page.keyboard.press("Escape")
    page.wait_for_selector("#stop", state="hidden", timeout=10000)
    assert len(page.inner_text(".message.assistant .body")) > 10


def test_markdown_is_shown_and_cannot_run(page):
    text = "# Title\n\n**bold** and `code <b>`\n\n```c\nint x = 1 < 2;\n```\n\n- one\n- two\n  1. deep\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
    text += "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script> [x](javascript:window.hacked=1) [ok](https://example.org/)"
    page.evaluate("(text) => document.querySelector('#messages').replaceChildren(showMessage({role: 'assistant', content: text}, 0))", text)
    assert page.inner_text(".body h2") == "Title"
    assert page.inner_text(".body pre code") == "int x = 1 < 2;"
    assert page.inner_text(".body strong") == "bold"
    assert page.inner_text(".body ul > li > ol > li") == "deep"
    assert page.inner_text(".body td") == "1"
    assert page.eval_on_selector_all(".body img, .body script", "nodes => nodes.length") == 0
    assert page.eval_on_selector_all(".body a", "nodes => nodes.map(n => n.href)") == ["https://example.org/"]
    assert page.evaluate("window.hacked") is None


def test_keyboard_and_phone(browser, server):
    context = browser.new_context(viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True, color_scheme="dark")
    page = context.new_page()
    page.goto(server.url)
    assert page.evaluate("document.activeElement.id") == "input"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert not page.is_visible("#new")
    page.tap("#open-sidebar")
    page.wait_for_selector("#new", state="visible")
    page.tap("#close-sidebar")
    page.wait_for_selector("#new", state="hidden")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(25, 25, 24)"
    context.close()
