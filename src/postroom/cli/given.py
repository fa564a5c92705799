"""What a command was given: settings, from the environment and the command line."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from postroom.db.embedded.folder import MARKER
from postroom.errors import Invalid
from postroom.settings import Settings

DEBUG = "POSTROOM_DEBUG"
LOG = "postroom.log"


class BadSetting(Invalid):
    """A setting in the environment or on the command line makes no sense."""

    code = "cli.bad_setting"


def read_settings(data: Path | None, database_url: str | None, **more: Any) -> Settings:
    """What the environment says, and above it what the command line says. Raises `BadSetting`."""
    given = {"data": data, "database_url": database_url, **more}
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = f"POSTROOM_{first['loc'][0]}".upper()
        raise BadSetting(f"The setting {name} makes no sense: {first['msg']}.") from None
    except SettingsError as error:  # a list that is not written in JSON
        raise BadSetting(f"The environment makes no sense: {error}.") from None
    return settings.model_copy(update={"data": settings.data.expanduser().absolute()})


def log_file(data: Path | None) -> Path | None:
    """Where this installation logs; None before there is a folder that is ours."""
    folder = read_settings(data, None).data
    return folder / LOG if (folder / MARKER).exists() else None
