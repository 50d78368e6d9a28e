"""Every word of a page is in every language, with the same names in it; and everybody is given one of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import kalepool
from kalepool.api.rendering import TEMPLATES
from kalepool.view.words import CATALOGUES, LANGUAGES, Language, choose

PACKAGE = Path(kalepool.__file__).parent
NAME = re.compile(r"%\((\w+)\)s|%%")


def shown() -> tuple[set[str], dict[str, str]]:
    """The texts of all templates and `mark`s; and the counted ones, the form for one with that for many."""
    texts: set[str] = set()
    counted: dict[str, str] = {}
    for path in (PACKAGE / "api/templates").rglob("*.html"):
        for _, function, found in TEMPLATES["en"].extract_translations(path.read_text()):  # pyright: ignore
            if function == "ngettext":
                counted[found[0]] = found[1]
            elif function in ("gettext", "_"):
                text = found if isinstance(found, str) or found is None else found[0]
                texts |= {text} if text is not None else set()  # a name in its place: what it stands for is a `mark`
    for path in PACKAGE.rglob("*.py"):
        if path.name != "words.py":
            tree = ast.parse(path.read_text())
            texts |= set(marked(tree))
            counted |= said_of_many(tree)
    return texts, counted


def marked(tree: ast.AST) -> list[str]:
    return [texts[0] for name, texts in said(tree) if name in ("mark", "say")]


def said_of_many(tree: ast.AST) -> dict[str, str]:
    return {texts[0]: texts[1] for name, texts in said(tree) if name == "counted"}


def said(tree: ast.AST) -> list[tuple[str, list[str]]]:
    """Calls of functions, and of methods of `words`, with texts, and the texts they begin with."""
    found = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = "mark" if getattr(call.func, "id", "") == "mark" else ""
        if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in ("words", "self.words"):
            name = call.func.attr
        texts = [
            str(each.value) for each in call.args if isinstance(each, ast.Constant) and isinstance(each.value, str)
        ]
        found += [(name, texts)] if texts else []
    return found


TEXTS, COUNTED = shown()


def test_there_are_words() -> None:
    assert "Skip to the content" in TEXTS
    assert set(CATALOGUES) | {"en"} == set(LANGUAGES) == set(TEMPLATES)


@pytest.mark.parametrize("language", sorted(CATALOGUES))
def test_a_language_has_them_all_and_no_more(language: str) -> None:
    catalogue = CATALOGUES[language]
    assert TEXTS - set(catalogue.WORDS) == set(), "not translated"
    assert set(catalogue.WORDS) - TEXTS == set(), "shown nowhere"
    assert set(catalogue.COUNTED) == set(COUNTED)


@pytest.mark.parametrize("language", sorted(CATALOGUES))
def test_the_names_in_them_are_the_same(language: str) -> None:
    pairs = list(CATALOGUES[language].WORDS.items())
    pairs += [(COUNTED[one], form) for one, forms in CATALOGUES[language].COUNTED.items() for form in forms]
    for english, other in pairs:
        assert set(NAME.findall(english)) >= set(NAME.findall(other)), english
        for text in (english, other):
            assert "%" not in NAME.sub("", text), f"a lone percent sign: {text}"
    for english, other in CATALOGUES[language].WORDS.items():
        assert sorted(NAME.findall(english)) == sorted(NAME.findall(other)), english


@pytest.mark.parametrize(
    ("wishes", "accepted", "language"),
    [
        ((None, None), "", "en"),
        ((None, None), "de-AT,de;q=0.9,en;q=0.8", "de"),
        ((None, None), "fr, en;q=0.3, de;q=0.4", "de"),
        ((None, None), "de;q=0, *", "en"),
        ((None, None), "de;q=what,,;;,\x00", "en"),
        (("de", "en"), "en", "de"),
        (("xx", "de"), "en", "de"),
        (("../../etc", None), "fr", "en"),
    ],
)
def test_which_language(wishes: tuple[str | None, ...], accepted: str, language: str) -> None:
    assert choose(*wishes, accepted=accepted) == language


def test_what_is_filled_in_is_escaped_where_html_is() -> None:
    for language in LANGUAGES:
        template = TEMPLATES[language].from_string('{{ _("Signed in as %(name)s", name=name) }}')
        assert "<script>" not in template.render(name="<script>")
    assert Language("de").say("Signed in as %(name)s", name="Ann") == "Angemeldet als Ann"
    assert Language("en").say("Signed in as %(name)s", name="Ann") == "Signed in as Ann"
    assert [Language("en").ngettext("%(num)s block", "%(num)s blocks", count) for count in (1, 2)] == [
        "%(num)s block",
        "%(num)s blocks",
    ]


NAMES = {"unexplained", "operator", "kalepool", "KALE", "XLM", "API", "UTC", "Linux", "macOS", "Windows", "Docker"}
"""The same in every language: names, accounts of the books among them."""


def bare_words(template: str) -> set[str]:
    """What a template says by itself, past the catalogue: in its text, and in attributes that people read."""
    plain = re.sub(r"\{#.*?#\}", "", template, flags=re.DOTALL)
    plain = re.sub(r"\{%.*?%\}|\{\{.*?\}\}|\{\w+\}", " ", plain, flags=re.DOTALL)  # a script fills {reason} in
    read = re.findall(r'(?:title|alt|placeholder|aria-label|content)="([^"]*)"', re.sub(r"<meta[^>]*>", "", plain))
    plain = re.sub(r"<(pre|code|script|style|option)\b.*?</\1>", " ", plain, flags=re.DOTALL)
    texts = [*re.sub(r"<[^>]*>", " ", plain).split("\n"), *read]
    return {word for text in texts for word in re.findall(r"[^\W\d_]{2,}", text.replace("&amp;", ""))} - NAMES


def test_no_template_says_a_word_past_the_catalogue() -> None:
    assert bare_words('<a title="Go on">{{ _("x") }} Why <b>KALE</b></a>') == {"Go", "on", "Why"}
    found = {
        str(path.relative_to(PACKAGE)): words
        for path in (PACKAGE / "api/templates").rglob("*.html")
        if (words := bare_words(path.read_text()))
    }
    assert found == {}
