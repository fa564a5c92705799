"""Simple HTML is read without a tree, and its words are those that a tree would give."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.mime import flat
from postroom.mime.html import parsed, tidy, to_text

NEWSLETTER = """<!DOCTYPE html><html><head><title>News</title><style type="text/css">p > a { margin: 0 }
</style></head><body style="margin:0"><!-- top --><table width="100%"><tr><td style='border:0;display:block'>
One&nbsp;&amp; <a href="https://x.example/?a=1&amp;b=2" target=_blank>two</a></td><TD>three<br/>four</TD></tr>
</table></body></html>"""
PIECES = """
<table>|</table>|<tr>|</tr>|<td>|</td>|<th>|</th>|<tbody>|<p>|</p>|<div class="a">|</div>|<b>|</b>|<a href=x>
</a>|x|y | |z&amp;|&|amp;|&lt|;|&#8217;|&#x41;|&#2;|<br>|</br>|<br/>|<li>|<ul>
</ul>|<h1>|</h2>|<style>|</style>
<title>|</title>|<!--|-->|<!-->|--!>|<body>|</body>|</html>|<head>|<p style='display:none'>|<i hidden>
<p title="a>b">|<p a='"' b=">|'>|>|<|"|<img alt="w">|<!doctype>|<?|<pre>|<select>
<form>|</form>|<input>|<center>
<font color=red>|</font>|\f|\xa0|<hr>|<dl>|<dd>|</p >|<STYLE>|<P>|</TD>|<span a=b="c d='e" f>|</span>
"""
FRAGMENTS = [piece for piece in re.split(r"[|\n]", PIECES) if piece]


def test_a_newsletter_is_simple() -> None:
    assert flat.words(NEWSLETTER) is not None
    assert to_text(NEWSLETTER) == "One & two three\nfour"


@pytest.mark.parametrize(
    "html",
    [
        "a < b",
        "<p style='display:none'>x",
        "<p style='DISPLAY: none'>x",
        "<p style='display&#58;none'>x",
        "<p style='font-size:0px'>x",
        "<p hidden>x",
        "<table>x<tr><td>y</table>",
        "<table><tr><b>x</b><td>y</table>",
        "<pre>x\ny</pre>",
        "<script>x</script>",
        "<select><option>x</select>",
        "<p title='a>b'>x",
        "<p title='it's'>x",
        "<unknown>x",
        "&#2;&#x41;",
        "\x02",
    ],
)
def test_what_needs_a_tree_is_left_to_a_parser(html: str) -> None:
    assert flat.words(html) is None


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join))
def test_the_words_are_those_of_the_tree(html: str) -> None:
    simple = flat.words(html)

    if simple is not None:
        assert tidy(simple) == tidy(parsed(html))
