"""HTML of strangers becomes harmless, and its words become text."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mime.checking import DANGEROUS_TAG, QUOTED, dangers
from selectolax.lexbor import LexborHTMLParser

from postroom.mime.bounds import bounded
from postroom.mime.html import NOT_DISPLAYED, NOT_VISIBLE, sanitise, style, to_text

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpora" / "dompurify" / "expect.json"
PIECES = """
<b>|</b>|<p |style='color:red'|"|'|>|<|a|&lt;|<!--|-->|<svg>|</p>|<style>|</style>|<a href=x>|<img src='
onerror=x|<table>|<tr>|<td>|/|=| |<math><mtext>|<noscript>|<title>|</title>|<br>|&#x3c;script&#x3e;
<template>|<li>|<pre>|\n
"""
FRAGMENTS = PIECES.strip().replace("\n", "|").split("|")


@pytest.mark.skipif(not CORPUS.exists(), reason="needs the shared corpora")
def test_no_attack_of_the_dompurify_collection_survives() -> None:
    for case in json.loads(CORPUS.read_text()):
        result = sanitise(case["payload"]).html

        assert dangers(result) == [], case.get("title")
        assert not DANGEROUS_TAG.search(QUOTED.sub('""', result))
        assert sanitise(result).html == result


@pytest.mark.parametrize(
    ("html", "clean"),
    [
        ("<p onclick=alert(1)>a</p>", "<p>a</p>"),
        ("<script>alert(1)</script>a", "a"),
        ("a<style>p{}</style>b", "ab"),
        ('<a href="javascript:alert(1)">a</a>', '<a rel="noopener noreferrer">a</a>'),
        ('<a href="java\tscript:alert(1)">a</a>', '<a rel="noopener noreferrer">a</a>'),
        ('<a href="/settings">a</a>', '<a rel="noopener noreferrer">a</a>'),
        ('<a href="https://x.org">a</a>', '<a href="https://x.org" rel="noopener noreferrer">a</a>'),
        ('<img src="cid:logo@x" alt="Logo">', '<img src="cid:logo@x" alt="Logo">'),
        ('<img src="data:image/svg+xml;base64,AAAA">', "<img>"),
        ("<form action=x><input name=y>a</form>", "a"),
        ("<svg><style><img src=x onerror=alert(1)></style></svg>a", "a"),
        ("<!-- <b>no</b> -->a<![CDATA[x]]>", "a"),
        ('<meta http-equiv=refresh content="0;url=x"><base href="//evil">a', "a"),
        ('<td background="http://x/y">a', "a"),
    ],
)
def test_only_formatting_survives(html: str, clean: str) -> None:
    assert sanitise(html).html == clean


def test_remote_images_are_removed_and_counted_unless_asked_for() -> None:
    html = '<img src="https://x/1.gif"><img src="//x/2.gif"><img src="cid:3"><img alt="4">'

    assert sanitise(html).blocked_images == 2
    assert "//x" not in sanitise(html).html
    assert 'src="https://x/1.gif"' in sanitise(html, remote_images=True).html
    assert '"//x/2.gif"' not in sanitise(html, remote_images=True).html


@pytest.mark.parametrize(
    "value",
    [
        "background:url(http://x)",
        "color:var(--x)",
        "width:expression(alert(1))",
        "position:fixed",
        "behavior:url(x)",
        "color:red\\9",
        "background-image:u/**/rl(x)",
        "-moz-binding:url(x)",
        "z-index:9",
        "content:attr(x)",
        "color:",
    ],
)
def test_a_style_that_loads_or_covers_is_dropped(value: str) -> None:
    assert style(value) == ""


def test_a_style_that_formats_is_kept() -> None:
    wanted = "color: #333; background-color: rgb(1, 2, 3); font: 12px 'Arial', sans-serif; margin: 0 auto"

    assert style(wanted) == wanted


@pytest.mark.parametrize(
    ("html", "clean"),
    [
        ("<pre>\na</pre>", "<pre>a</pre>"),
        ("<pre>\n\n\na</pre>", "<pre>\n\n\na</pre>"),
        ("<pre lang=en>\n\na</pre>", '<pre lang="en">\n\na</pre>'),
        ("<pre>\n\n<pre>\n\na", "<pre>\n\n<pre>\n\na</pre></pre>"),
        ('<p title="<pre>\n">a</p>', '<p title="&lt;pre&gt;\n">a</p>'),
    ],
)
def test_empty_lines_at_the_start_of_preformatted_text_are_kept(html: str, clean: str) -> None:
    assert sanitise(html).html == clean
    assert sanitise(clean).html == sanitise(sanitise(clean).html).html


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS)).map("".join))
def test_sanitising_is_safe_and_twice_is_once(html: str) -> None:
    once = sanitise(html).html

    assert dangers(once) == []
    assert sanitise(once).html == once
    assert isinstance(to_text(html).encode(), bytes)


def test_text_breaks_where_a_browser_breaks() -> None:
    html = "<h1>Title</h1><p>One\n two<br>three</p><p>four</p>"
    html += "<ul><li>x<li>y</ul><table><tr><td>a</td><td>b</td></tr></table>"

    assert to_text(html).split("\n") == ["Title", "One two", "three", "four", "", "x", "y", "", "a b"]


def test_text_keeps_the_lines_of_preformatted_text() -> None:
    assert to_text("<p>a\nb</p><pre>one\n  two\nthree</pre>") == "a b\none\ntwo\nthree"


@pytest.mark.parametrize(
    "hidden",
    [
        "<style>a</style>",
        "<script>a</script>",
        "<title>a</title>",
        "<div style='display: none'>a<p style='display:none'>b</p></div>",
        "<span style='FONT-SIZE:0px'>a</span>",
        "<div hidden>a</div>",
        "<!-- a -->",
        "<p style='mso-hide:all'>a</p>",
        "<div style='max-height:0;overflow:hidden'>a</div>",
        "<p style='visibility:hidden'>a</p>",
        "<template>a</template>",
    ],
)
def test_text_leaves_out_what_no_reader_sees(hidden: str) -> None:
    assert to_text(f"x {hidden} y").split() == ["x", "y"]


def test_what_is_hidden_in_several_ways_is_found_once_and_outer_elements_first() -> None:
    """Taking an element out twice, or after the one around it, would touch freed memory."""
    inner = "<p hidden style='display:none; visibility: hidden'>a<b style='mso-hide:all'>b</b></p>"
    inner += "<object><object>c<script>d</script></object></object>"
    html = f"<div style='display:none;font-size:0px' hidden>{inner}</div>{inner}y" * 20
    found = LexborHTMLParser(html).css(f":is({NOT_DISPLAYED}, {NOT_VISIBLE})")

    assert len({node.mem_id for node in found}) == len(found) == 20 * 5
    assert to_text(html).split() == ["y"] * 20


def test_upper_case_tags_break_as_well() -> None:
    assert to_text("<P>a<BR>b</P>") == "a\nb"


def test_entities_and_stray_angles_are_text() -> None:
    assert to_text("1 &lt; 2 &amp;&nbsp;3 < 4 &#0; &#xd800;").replace("\ufffd", "?") == "1 < 2 & 3 < 4 ? ?"


def test_bounding_closes_everything_in_order_and_keeps_the_words() -> None:
    assert bounded("<b><i>x</b>y") == "<b><i>x</i></b>y"
    assert bounded("<p>a<p>b") == "<p>a</p><p>b</p>"
    assert bounded("<DIV title='a>b'>x<!-- y --></div></div>") == "<div title='a>b'>x</div>"
    assert bounded("a < b <3") == "a &lt; b &lt;3"
    assert bounded("a<script>if (a<b) </script>b<style>c") == "ab"


def test_bounding_limits_depth_and_attributes() -> None:
    html = bounded("<div>" * 10_000 + "x" + "<p " + " ".join(f"a{i}=1" for i in range(10_000)) + ">")

    assert html.count("<div>") <= 100
    assert html.count("=") <= 60
    assert "x" in html
