"""An assistant that searches and reads mail, and forgets nothing when it is killed (LangGraph).

    pip install 'postroom[langgraph]'
    python examples/assistant/assistant.py monday "What does Zoe want?"

`monday` is a thread of thoughts. Its checkpoints lie in the PostgreSQL that postroom lives in, that of
POSTROOM_DATABASE_URL or of `postroom up`. Killed and called again, it goes on behind its last step. It needs
no language model to be tried: `scripted` says what one might. For a real one, `model.bind_tools(tools)` takes
the place of `scripted(...)`.
"""

import asyncio
import sys
from typing import Any
from uuid import UUID

from langchain_core.messages import HumanMessage
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from scripted import scripted  # beside this file

from postroom import Postroom
from postroom.client import AsyncClient

LONGEST = 4000  # characters of a mail that are read


def tools_of(mail: AsyncClient) -> list[BaseTool]:
    """What the assistant can do. It reads only: what a mail tells it to do is not done."""

    @tool
    async def search_mail(query: str) -> str:
        """Find mail, as in `from:zoe invoice`. Answers with an id, a sender and a subject on each line."""
        found = await mail.search(query, limit=5)
        rows = [(hit.message.id, hit.message.sender.address, hit.message.subject) for hit in found.items]
        return "\n".join(" ".join(map(str, row)) for row in rows) or "nothing"

    @tool
    async def read_mail(id: str) -> str:
        """Read the mail with this id."""
        message = await mail.get_message(UUID(id))
        return f"{message.subject}\n\n{message.text or message.preview}"[:LONGEST]

    return [search_mail, read_mail]


def graph_of(mail: AsyncClient, saver: AsyncPostgresSaver) -> Any:
    """think ─▶ tools ─▶ think ─▶ ... ─▶ an answer"""

    async def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await scripted(state["messages"]).ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("think", think)
    graph.add_node("tools", ToolNode(tools_of(mail)))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", tools_condition)
    graph.add_edge("tools", "think")
    return graph.compile(checkpointer=saver)


async def main(thread: str, question: str) -> None:
    """Answer, or go on where this thread was left; each step is printed when it is certain."""
    config = {"configurable": {"thread_id": thread}}
    async with (
        Postroom(executor=False) as room,
        AsyncPostgresSaver.from_conn_string(room.database_url) as saver,
    ):
        await saver.setup()
        graph = graph_of(room.client, saver)
        was_left = (await graph.aget_state(config)).next
        asked = None if was_left else {"messages": [HumanMessage(question)]}
        async for step in graph.astream(asked, config, stream_mode="updates", durability="sync"):
            for node, update in step.items():
                said = update["messages"][-1]
                print(node, said.content or said.tool_calls[0]["name"], flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
