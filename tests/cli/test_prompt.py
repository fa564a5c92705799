"""A person who is asked for a password, on a terminal."""

import os
import pty

from .conftest import COMMAND, Cli, Lab

PASSWORD = "open sesame"


def test_a_password_that_is_typed_is_not_shown(cli: Cli, lab: Lab) -> None:
    words = ["connect", "robin@lab.example", "--server", lab("--messages", "3"), "--starttls", "off"]
    child, terminal = pty.fork()
    if child == 0:
        os.execve(COMMAND[0], [*COMMAND, *words], cli.environment())
    seen = b""
    while b"Password of robin@lab.example: " not in seen:
        seen += os.read(terminal, 4096)
    os.write(terminal, f"{PASSWORD}\n".encode())
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        seen += piece
    _, status = os.waitpid(child, 0)
    os.close(terminal)

    assert os.waitstatus_to_exitcode(status) == 0
    assert b"3 messages in" in seen
    assert PASSWORD.encode() not in seen
