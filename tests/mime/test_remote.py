"""Nothing in a mail's HTML loads anything: each way to ask for it, as a case of its own."""

import pytest
from mime.checking import dangers

from postroom.mime.html import sanitise, style

SPY = "//spy.example/p"
URL = f"https:{SPY}"

WAYS = {
    # images
    "img": f'<img src="{URL}">',
    "img without a scheme": f'<img src="{SPY}">',
    "img with spaces in its scheme": f'<img src=" ht\ttps:{SPY}">',
    "img in capitals": f"<IMG SRC='{URL.upper()}'>",
    "img with backslashes": r'<img src="\\spy.example\p">',
    "img over another scheme": '<img src="ftp://spy.example/p">',
    "srcset": f'<img srcset="{URL} 1x, {URL}2 2x">',
    "srcset beside an image of the mail": f'<img src="cid:a" srcset="{URL} 2x">',
    "lowsrc": f'<img lowsrc="{URL}" dynsrc="{URL}" longdesc="{URL}" data-src="{URL}">',
    "picture": f'<picture><source srcset="{URL}" type="image/webp"><img alt="a"></picture>',
    "image": f'<image src="{URL}">',
    "input": f'<input type="image" src="{URL}">',
    "usemap": f'<img usemap="{URL}"><map name="m"><area href="{URL}" ping="{URL}"></map>',
    # backgrounds
    "background of body": f'<body background="{URL}">a</body>',
    "background of a table": f'<table background="{URL}"><tr background="{SPY}"><td>a</table>',
    "background of a cell without a scheme": f'<td background="{SPY}">a</td>',
    # styles
    "background in a style": f'<p style="background: url({URL})">a</p>',
    "background-image": f"<p style=\"background-image: url('{URL}')\">a</p>",
    "background beside what is allowed": f'<p style="color: red; background: #fff url({URL})">a</p>',
    "list-style-image": f'<ul style="list-style: url({URL})"><li>a</ul>',
    "border-image": f'<p style="border-image: url({URL}) 30">a</p>',
    "cursor": f'<p style="cursor: url({URL}), auto">a</p>',
    "content": f'<p style="content: url({URL})">a</p>',
    "image-set": f"<p style=\"background-image: image-set('{URL}' 1x)\">a</p>",
    "cross-fade": f'<p style="background: cross-fade(url({URL}), red)">a</p>',
    "filter": f'<p style="filter: url({URL}#f)">a</p>',
    "mask": f'<p style="mask: url({URL}); clip-path: url({URL}#c); shape-outside: url({URL})">a</p>',
    "an escaped url": rf'<p style="background: \75 rl({URL})">a</p>',
    "a url behind a comment": f'<p style="background: u/**/rl({URL})">a</p>',
    "a url with a line end in it": f'<p style="background: url(\n{URL}\n)">a</p>',
    "a variable": f'<p style="--x: url({URL}); background: var(--x)">a</p>',
    "expression": f"<p style=\"width: expression(new Image().src='{URL}')\">a</p>",
    "behavior": f'<p style="behavior: url({URL}); -moz-binding: url({URL}#x)">a</p>',
    "font of a style": f'<p style="font-family: url({URL})">a</p>',
    "style sheet": f"<style>@import '{URL}'; p {{ background: url({URL}) }}</style>a",
    "font face": f"<style>@font-face {{ font-family: x; src: url({URL}) }}</style>a",
    "style sheet that is not closed": f"a<style>@import url({URL});",
    # links that load by themselves
    "link": f'<link rel="stylesheet" href="{URL}">a',
    "prefetch": f'<link rel="dns-prefetch" href="{SPY}"><link rel="preload" as="image" href="{URL}">a',
    "icon": f'<link rel="icon" href="{URL}">a',
    "base": f'<base href="{URL}"><img src="x.gif">',
    "meta refresh": f'<meta http-equiv="refresh" content="0; url={URL}">a',
    "manifest": f'<html manifest="{URL}">a</html>',
    "profile": f'<head profile="{URL}"></head>a',
    "ping": f'<a ping="{URL}">a</a>',
    "cite": f'<blockquote cite="{URL}">a</blockquote><q cite="{URL}">b</q><ins cite="{URL}">c</ins>',
    # frames, media, objects
    "iframe": f'<iframe src="{URL}"></iframe>a',
    "srcdoc": f"<iframe srcdoc=\"<img src='{URL}'>\"></iframe>a",
    "frame": f'<frameset><frame src="{URL}"></frameset>',
    "object": f'<object data="{URL}" codebase="{URL}"><param name="movie" value="{URL}">a</object>',
    "embed": f'<embed src="{URL}">a',
    "applet": f'<applet code="x" codebase="{URL}">a</applet>',
    "video": f'<video src="{URL}" poster="{URL}"><source src="{URL}"><track src="{URL}">a</video>',
    "audio": f'<audio src="{URL}" autoplay>a</audio>',
    "bgsound": f'<bgsound src="{URL}">a',
    "script": f'<script src="{URL}"></script>a',
    "script in a noscript": f'<noscript><img src="{URL}"></noscript>',
    "layer": f'<layer src="{URL}">a</layer><ilayer src="{URL}">b</ilayer>',
    "xml island": f'<xml src="{URL}" id="x"></xml>a',
    "portal": f'<portal src="{URL}"></portal><fencedframe src="{URL}"></fencedframe>a',
    "template": f'<template><img src="{URL}"></template>a',
    # drawings and formulas
    "svg image": f'<svg><image href="{URL}" xlink:href="{URL}"/></svg>a',
    "svg use": f'<svg><use href="{URL}#x"/></svg>a',
    "svg filter": f'<svg><filter><feImage href="{URL}"/></filter></svg>a',
    "svg style": f"<svg><style>@import url({URL});</style></svg>a",
    "svg animation": f'<svg><a><animate attributeName="href" values="{URL}"/><text>a</text></a></svg>',
    "svg fill": f'<svg><rect fill="url({URL}#x)" style="fill: url({URL}#x)"/></svg>a',
    "svg foreign object": f'<svg><foreignObject><img src="{URL}"></foreignObject></svg>a',
    "svg in an image": "<img src=\"data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'>"
    f"<image href='{URL}'/></svg>\">",
    "math": f'<math href="{URL}"><mglyph src="{URL}"/><mi xlink:href="{URL}">x</mi></math>a',
    # forms
    "form": f'<form action="{URL}"><button formaction="{URL}">a</button></form>',
    # what hides from a reader of text
    "entities": '<img src="&#104;ttps:&#47;&#47;spy.example/p">',
    "a comment for one browser": f'<!--[if mso]><img src="{URL}"><v:fill src="{URL}"/><![endif]-->a',
    "a comment shown to others": f'<!--[if !mso]><!--><img src="{URL}"><!--<![endif]-->',
    "vml": f'<v:background fill="t"><v:fill type="tile" src="{URL}"/></v:background>a',
    "an attribute without end": f'<p>a</p><img src="{URL}',
    "a tag inside a tag": f'<img <img src="{URL}">>',
    "noembed": f'<noembed><img src="{URL}"></noembed>a',
    "a title with markup": f'<title></title><img src="{URL}"></title>',
}


@pytest.mark.parametrize("html", WAYS.values(), ids=WAYS.keys())
def test_nothing_remote_is_left(html: str) -> None:
    clean = sanitise(f"<p>before</p>{html}").html

    assert "spy.example" not in clean.lower()
    assert "before" in clean
    assert dangers(clean) == []


def test_a_link_is_left_and_loads_nothing_by_itself() -> None:
    assert sanitise(f'<a href="{URL}" ping="{URL}" target="x">a</a>').html == (
        f'<a href="{URL}" rel="noopener noreferrer">a</a>'
    )


@pytest.mark.parametrize(
    ("html", "count"),
    [
        (f'<img src="{URL}">' * 3, 3),
        (f'<img src="{SPY}"><img src="relative.gif">', 2),
        ('<img src="cid:a"><img src="data:image/png;base64,AAAA"><img alt="a"><img src="#"><img src="">', 0),
        (f'<table background="{URL}"><tr><td background="{SPY}">a</td></tr></table>', 2),
        ('<td background="cid:a">a</td>', 0),
        (f"<p style=\"background: url({URL}), url( '{SPY}' )\">a</p>", 2),
        ('<p style="background: url(cid:a); color: red">a</p>', 0),
        (f'<html background="{URL}"><body style="background: url({URL})" background={SPY}>a</body>', 3),
        ('<body background="cid:a" data-x=" background=https://spy.example">a</body>', 0),
        ('<BODY BACKGROUND="&#104;ttps://spy.example/p" background="">a', 1),
        (f'<img srcset="{URL} 2x"><img src="{URL}" srcset="{URL} 2x">', 2),
        (f'<img src="data:image/gif;base64,AA" srcset="{URL} 2x">', 1),
        (f'<image src="{URL}"><input type=image src="{URL}"><video poster="{URL}"></video>', 3),
        (f'<!-- <body background="{URL}"> --><script><body background="{URL}"></script>', 0),
        (f'<a href="{URL}">a</a><iframe src="{URL}"></iframe>', 0),
    ],
)
def test_images_that_were_taken_out_are_counted(html: str, count: int) -> None:
    assert sanitise(html).blocked_images == count


def test_backgrounds_are_taken_out_even_where_remote_images_are_asked_for() -> None:
    html = f'<table background="{URL}"><tr><td style="background: url({URL})">a</td></tr></table>'

    assert "spy" not in sanitise(html, remote_images=True).html
    assert style(f"background: url({URL})") == ""
