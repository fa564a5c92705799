"""Nothing leaves an installation but through `net/egress`; who else could open a socket is named here.

PostgreSQL and Celery's broker are the operator's own, and reached by libraries of their own.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from house.test_house import trees

OPENING = {
    "socket",
    "create_connection",
    "create_server",
    "create_unix_connection",
    "create_datagram_endpoint",
    "open_connection",
    "open_unix_connection",
    "connect_ex",
    "sock_connect",
    "start_server",
    "getaddrinfo",
    "gethostbyname",
    "gethostbyname_ex",
}
"""Functions and methods by whatever name they are reached, of `socket`, asyncio and its loops."""

LIBRARIES = {
    *("aiohttp", "aiosmtplib", "dns", "ftplib", "http.client", "httpcore", "httpcore2", "httpx", "httpx2"),
    *(
        "imaplib",
        "nntplib",
        "paramiko",
        "poplib",
        "pycurl",
        "requests",
        "smtplib",
        "socketserver",
        "telnetlib",
    ),
    *("urllib.request", "urllib3", "websocket", "websockets", "wsgiref", "xmlrpc", "_socket"),
}
"""Those that open some."""

OPENS = {
    "net/egress.py": {"socket", "sock_connect", "getaddrinfo"},  # the only way out
    "net/client.py": {"open_connection"},  # around a socket of egress
    "net/smtp.py": {"open_connection"},  # the same
    "imap/aio.py": {"create_connection"},  # the same, as its only caller has one; see below
    "db/embedded/client.py": {"socket", "sock_connect"},  # of the file system, to the keeper of PostgreSQL
    "db/embedded/keeper.py": {"socket", "connect_ex"},
    "cli/listening.py": {"getaddrinfo", "create_server"},  # the API's own address
    "lab/server.py": {"start_server"},  # listens; it is never part of `up` without --demo
}
IMPORTS = {
    **{f"client/{name}.py": {"httpx2"} for name in ("client", "conversation", "wire")},  # of other programs
    "library/room.py": {"httpx2"},  # which calls our own application, in memory
    "net/client.py": {"httpx2", "httpcore2"},  # whose sockets egress opens
    "net/kept.py": {"httpx2", "httpcore2"},  # the same
    "net/names.py": {"dns"},  # the name servers of this machine, and nobody else
}


def called(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in OPENING:
                yield name


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            yield from (each for each in LIBRARIES if name == each or name.startswith(f"{each}."))


def test_no_module_opens_a_socket_but_those_that_are_named_here() -> None:
    found = {str(path): set(called(tree)) for path, tree in trees()}

    assert {path: names for path, names in found.items() if names} == OPENS


def test_no_module_has_a_library_that_opens_one() -> None:
    found = {str(path): set(imported(tree)) for path, tree in trees()}

    assert {path: names for path, names in found.items() if names} == IMPORTS


def test_sockets_of_the_file_system_are_nothing_else() -> None:
    for path, tree in trees():
        if path.parts[:2] == ("db", "embedded"):
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "socket":
                    assert ast.unparse(node) == "socket.socket(socket.AF_UNIX)", f"{path}:{node.lineno}"


def test_who_speaks_imap_gives_a_socket_of_the_guard() -> None:
    """`imap` would open one itself for those who use it without the rest."""
    callers = {}
    for path, tree in trees():
        names = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "postroom.imap.aio"
            for alias in node.names
            if alias.name == "connect"
        }
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        found = [call for call in calls if getattr(call.func, "id", "") in names]
        if found:
            callers[str(path)] = [[keyword.arg for keyword in call.keywords] for call in found]

    assert list(callers) == ["providers/imap/provider.py"]
    assert all("sock" in keywords for each in callers.values() for keywords in each)


def test_only_rooms_that_go_out_have_the_guard() -> None:
    """Who makes a rule for themselves, instead of being lent the installation's, is named, too."""
    makers = {
        str(path)
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Egress"
    }

    assert makers == {
        "accounts/oauth.py",  # nobody said: public only
        "alerts/ways.py",  # the operator's own receiver, named in the settings and nowhere else
        "cli/installation.py",
        "executor/celery.py",
        "library/house.py",
        "people/jwks.py",  # issuers are the operator's own; what they point at is public only
    }


def test_the_names_here_are_modules() -> None:
    src = Path(__file__).parents[2] / "src" / "postroom"

    assert [path for path in {**OPENS, **IMPORTS} if not (src / path).exists()] == []
