"""Run coroutine tests where pytest-asyncio is missing: this room needs pytest and hypothesis only.

PYTHONPATH=src:tests pytest -c /dev/null --rootdir . --confcutdir tests/imap --import-mode importlib \\
    tests/imap
"""

import asyncio
import inspect
from importlib.util import find_spec

import pytest

if find_spec("pytest_asyncio") is None:

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
        if not inspect.iscoroutinefunction(pyfuncitem.obj):
            return None
        wanted = inspect.signature(pyfuncitem.obj).parameters
        asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in wanted}))
        return True
