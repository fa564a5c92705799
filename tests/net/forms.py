"""Ways of writing addresses where no stranger may send us, and names that lead there."""

import socket

LOOPBACK = """
    127.0.0.1 127.0.0.2 127.127.127.127 127.255.255.254 127.1 127.0.1 127.65535 2130706433
    2130706434 0x7f000001 0x7F000001 0x7f.0.0.1 0x7f.1 0x7f.0x0.0x0.0x1 127.0x1 0177.0.0.1 0177.1
    00000177.0.0.1 017700000001 0177.0x0.0.1 0 00 0x0 0.0 0.0.0.0 0.0.0.1 0.255.255.255 :: ::1
    0:0:0:0:0:0:0:0 0:0:0:0:0:0:0:1 0000:0000::0001 ::1%lo ::1%1 ::ffff:127.0.0.1 ::FFFF:127.0.0.1
    ::ffff:7f00:1 0:0:0:0:0:ffff:7f00:0001 ::ffff:0.0.0.0 ::ffff:0:127.0.0.1 ::127.0.0.1 ::7f00:1
    64:ff9b::127.0.0.1 64:ff9b::7f00:1 64:ff9b:1::127.0.0.1 2002:7f00:1:: 2002:7f00:0001::1
    2001:0:7f00:1:: 2001:0:4136:e378:8000:63bf:80ff:fffe fe80::5efe:127.0.0.1 2606:4700::5efe:7f00:1
    2606:4700::200:5efe:127.0.0.1 １２７.０.０.１ 127。0。0。1 127．0．0．1 ①②⑦.⓪.⓪.① 127.0.0.1.
    127.1. 2130706433.
"""
PRIVATE = """
    10.0.0.0 10.0.0.1 10.255.255.255 10.1 0xa.1 012.0.0.1 167772161 0x0a000001 172.16.0.1
    172.31.255.255 172.1048577 2886729729 0xac100001 192.168.0.1 192.168.257 3232235521 0xc0a80001
    0300.0250.0.1 ::ffff:10.0.0.1 ::ffff:a00:1 ::ffff:192.168.0.1 ::ffff:172.16.0.1 ::10.0.0.1
    64:ff9b::10.0.0.1 64:ff9b::c0a8:1 64:ff9b:1::a00:1 2002:a00:1:: 2002:c0a8:1::1 2002:ac10:1::
    2606:4700::5efe:10.0.0.1 fc00::1 fd00::1 fdff:ffff::1 fec0::1 fec0::c0a8:1 feff::1 100.64.0.1
    100.127.255.254 0x64.0x40.1 ::ffff:100.64.0.1
"""
METADATA = """
    169.254.169.254 169.254.43518 169.16689662 2852039166 0xa9fea9fe 0xa9.0xfe.0xa9.0xfe
    0251.0376.0251.0376 025177524776 ::ffff:169.254.169.254 ::ffff:a9fe:a9fe
    64:ff9b::169.254.169.254 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe:: 2606:4700::200:5efe:a9fe:a9fe
    169.254.170.2 169.254.0.1 169.254.169.123 fd00:ec2::254 fe80::1 fe80::a9fe:a9fe fe80::1%lo
    fe80::1%1 fe80::1%25lo febf::1 100.100.100.200 168.63.129.16 2822734096 ::ffff:168.63.129.16
    64:ff9b::a83f:8110 192.0.0.192 192.0.0.8 192.0.0.170 169.254.169.254.
    １６９.２５４.１６９.２５４
"""
NOBODYS = """
    192.0.2.1 198.51.100.7 203.0.113.9 198.18.0.1 198.19.255.255 224.0.0.1 239.255.255.250
    233.252.0.1 240.0.0.1 255.255.255.254 255.255.255.255 4294967295 0xffffffff 192.88.99.1
    192.31.196.1 192.52.193.1 192.175.48.1 100::1 2001:db8::1 3fff::1 3fff:fff::1 5f00::1 2001:2::1
    2001:10::1 2001:20::1 2620:4f:8000::1 ff02::1 ff05::2 ff0e::1 4000::1 ::ffff:224.0.0.1
    64:ff9b::e000:1
"""

NAMES: dict[str, list[str]] = {
    "localhost": ["A 127.0.0.1", "AAAA ::1"],
    "LOCALHOST": ["A 127.0.0.1"],
    "localhost.": ["A 127.0.0.1"],
    "localhost.localdomain": ["A 127.0.0.1"],
    "ip6-localhost": ["AAAA ::1"],
    "mail.localhost": ["A 127.0.0.1"],
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ": ["A 127.0.0.1"],
    "127.0.0.1.nip.io": ["A 127.0.0.1"],
    "www.127-0-0-1.sslip.io": ["A 127.0.0.1"],
    "7f000001.nip.io": ["A 127.0.0.1"],
    "10.0.0.1.nip.io": ["A 10.0.0.1"],
    "169-254-169-254.sslip.io": ["A 169.254.169.254"],
    "--1.sslip.io": ["AAAA ::1"],
    "localtest.me": ["A 127.0.0.1", "AAAA ::1"],
    "metadata": ["A 169.254.169.254"],
    "metadata.google.internal": ["A 169.254.169.254"],
    "metadata.google.internal.": ["A 169.254.169.254"],
    "instance-data": ["A 169.254.169.254"],
    "host.docker.internal": ["A 192.168.65.2"],
    "kubernetes.default.svc": ["A 10.96.0.1"],
    "bücher.example": ["A 127.0.0.1"],
    "xn--bcher-kva.example": ["A 127.0.0.1"],
    "STRASSE。example": ["A 10.0.0.1"],
    "one-link.example": ["CNAME localhost."],
    "two-links.example": ["CNAME one-link.example."],
    "to-metadata.example": ["CNAME metadata.google.internal."],
    "public-and-private.example": ["A 8.8.8.8", "A 10.0.0.1"],
    "private-and-public.example": ["A 127.0.0.1", "A 8.8.8.8"],
    "public-and-loopback-six.example": ["A 8.8.8.8", "AAAA ::1"],
    "one-bad-of-many.example": [*(f"A 8.8.4.{n}" for n in range(20)), "A 192.168.0.1"],
    "mapped.example": ["AAAA ::ffff:127.0.0.1"],
    "nat64.example": ["AAAA 64:ff9b::a9fe:a9fe"],
    "six-to-four.example": ["AAAA 2002:7f00:1::"],
    "unique-local.example": ["AAAA fd00::1"],
    "link-local.example": ["AAAA fe80::1"],
    "nowhere.example": ["A 0.0.0.0"],
    "shared.example": ["A 100.64.0.1"],
    "own.example": [],
}


def own() -> list[str]:
    """Addresses of this machine that others can reach it by, if it has any."""
    found = []
    for family, beyond in ((socket.AF_INET, "198.51.100.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            try:
                asking.connect((beyond, 9))  # nothing is sent
            except OSError:
                continue
            found.append(asking.getsockname()[0])
    return found


ADDRESSES = [*f"{LOOPBACK} {PRIVATE} {METADATA} {NOBODYS}".split(), *own()]
FORMS = [*ADDRESSES, *NAMES]


def records() -> dict[tuple[str, str], list[str]]:
    """`NAMES`, as a name server's zone has them."""
    zone: dict[tuple[str, str], list[str]] = {}
    for name, said in NAMES.items():
        plain = name.encode("idna").decode().rstrip(".").lower()
        mine = [f"{'AAAA' if ':' in one else 'A'} {one}" for one in own()] if name == "own.example" else said
        for record in mine:
            kind, _, value = record.partition(" ")
            if value not in (texts := zone.setdefault((plain, kind), [])):
                texts.append(value)
    return zone


def in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
