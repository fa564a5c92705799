"""In the place of a language model: searches, reads the first mail that it finds, and says what it says.

What comes next depends only on what was said before, so that it says the same after a restart.
"""

from collections.abc import Sequence

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

QUERY = "from:zoe"


def scripted(messages: Sequence[BaseMessage]) -> GenericFakeChatModel:
    """A model that has one thing to say."""
    return GenericFakeChatModel(messages=iter([_next(messages[-1])]))


def _next(last: BaseMessage) -> AIMessage:
    if not isinstance(last, ToolMessage):
        return _call("search_mail", query=QUERY)
    if last.name == "search_mail" and last.content != "nothing":
        return _call("read_mail", id=str(last.content).split()[0])
    return AIMessage(f"It says: {str(last.content).splitlines()[-1]}")


def _call(name: str, **arguments: str) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call of {name}"}])
