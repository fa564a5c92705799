"""How a call of the API is described, once for both clients.

A method of `operations` says what is asked and what comes back; the decorator makes of it a method that waits
where the client is a `Client`, and one to be awaited where it is an `AsyncClient`:

    @Operation
    def get_account(self, id: UUID) -> Call[Account]: ...

    client.get_account(id)           an Account
    await client.get_account(id)     the same
"""

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Mapping,
)
from dataclasses import dataclass, field
from enum import Enum
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from .model import Content
from .reading import TOLD, in_query, written

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
PageT_co = TypeVar("PageT_co", covariant=True)
ItemT_co = TypeVar("ItemT_co", covariant=True)


class Unset(Enum):
    """Leaves a field as it is, where None would change it."""

    UNSET = "unset"


UNSET = Unset.UNSET


def query(**values: Any) -> Mapping[str, str]:
    """Parameters; those that are None are not sent."""
    return {TOLD.get(name, name): in_query(value) for name, value in values.items() if value is not None}


def body(**values: Any) -> Mapping[str, Any]:
    """Fields; those that are UNSET are not sent."""
    return {name: written(value) for name, value in values.items() if value is not UNSET}


def given(**values: Any) -> Mapping[str, Any]:
    """Fields; those that are None are not sent."""
    return {name: written(value) for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """What is asked. `answer` is the type that comes back; None is what a 204 is read as."""

    method: str
    path: str
    answer: Any = None
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Paged(Call[PageT_co], Generic[PageT_co, ItemT_co]):
    """The same of a list that is read in pages, each with `items` and the cursor of the `next`."""


@dataclass(frozen=True, slots=True)
class Part(Call[Content]):
    """Stored bytes, or those from `first` up to `past`. Without `has_ranges` it is all of them, always.

    Raises `ValueError` where there can be no byte between the two.
    """

    first: int = 0
    past: int | None = None
    has_ranges: bool = True

    def __post_init__(self) -> None:
        if self.first < 0 or (self.past is not None and self.past <= self.first):
            raise ValueError(f"No byte lies from {self.first} up to {self.past}.")


@dataclass(frozen=True, slots=True)
class Following(Call[T_co]):
    """A stream: the types of what it tells, by name; what has none is passed over."""

    kinds: Mapping[str, Any] = field(default_factory=dict)
    otherwise: Any = None
    after: str | None = None


class Speaker(Protocol):
    """What both clients can do."""

    @property
    def conversation(self) -> Any: ...

    def carry_out(self, work: Coroutine[Any, Any, Any]) -> Any: ...

    def iterate(self, work: AsyncGenerator[Any]) -> Any: ...


class Blocking:
    """Its methods wait."""


class Waiting:
    """Its methods are awaited."""


class _Described(Generic[P, T_co]):
    """Something that a method describes."""

    def __init__(self, describe: Callable[Concatenate[Any, P], T_co]) -> None:
        self.describe = describe
        update_wrapper(self, describe)  # type: ignore[arg-type]


class Operation(_Described[P, Call[T_co]], Generic[P, T_co]):
    """One question, one answer."""

    @overload
    def __get__(self, client: None, owner: object) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: object) -> Callable[P, T_co]: ...
    @overload
    def __get__(self, client: Waiting, owner: object) -> Callable[P, Coroutine[Any, Any, T_co]]: ...
    def __get__(self, client: Any, owner: object) -> Any:
        return self if client is None else _Bound(client, self.describe)


class BlockingPages(Protocol[P, PageT_co, ItemT_co]):
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> PageT_co:
        """One page."""

    def pages(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[PageT_co]:
        """This page and all that follow."""

    def each(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[ItemT_co]:
        """What is on them, one after the other."""


class WaitingPages(Protocol[P, PageT_co, ItemT_co]):
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, PageT_co]:
        """One page."""

    def pages(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[PageT_co]:
        """This page and all that follow."""

    def each(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[ItemT_co]:
        """What is on them, one after the other."""


class Listing(_Described[P, Paged[PageT_co, ItemT_co]], Generic[P, PageT_co, ItemT_co]):
    """A list in pages: called, it gives one; `pages` and `each` read on to the end."""

    @overload
    def __get__(self, client: None, owner: object) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: object) -> BlockingPages[P, PageT_co, ItemT_co]: ...
    @overload
    def __get__(self, client: Waiting, owner: object) -> WaitingPages[P, PageT_co, ItemT_co]: ...
    def __get__(self, client: Any, owner: object) -> Any:
        return self if client is None else _Bound(client, self.describe)


class BlockingDownload(Protocol[P]):
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Content:
        """All of it, in memory."""

    def pieces(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[bytes]:
        """As it arrives; where the connection breaks, it goes on from there."""


class WaitingDownload(Protocol[P]):
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, Content]:
        """All of it, in memory."""

    def pieces(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[bytes]:
        """As it arrives; where the connection breaks, it goes on from there."""


class Download(_Described[P, Part], Generic[P]):
    """Stored bytes: called, it gives them; `pieces` gives them as they arrive."""

    @overload
    def __get__(self, client: None, owner: object) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: object) -> BlockingDownload[P]: ...
    @overload
    def __get__(self, client: Waiting, owner: object) -> WaitingDownload[P]: ...
    def __get__(self, client: Any, owner: object) -> Any:
        return self if client is None else _BoundDownload(client, self.describe)


class Stream(_Described[P, Following[T_co]], Generic[P, T_co]):
    """What is told for as long as somebody listens; it reconnects by itself, and goes on where it was."""

    @overload
    def __get__(self, client: None, owner: object) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: object) -> Callable[P, Generator[T_co, None, None]]: ...
    @overload
    def __get__(self, client: Waiting, owner: object) -> Callable[P, AsyncGenerator[T_co]]: ...
    def __get__(self, client: Any, owner: object) -> Any:
        return self if client is None else _BoundStream(client, self.describe)


class _Bound:
    """An operation of one client."""

    def __init__(self, client: Speaker, describe: Callable[..., Any]) -> None:
        self._client, self._describe = client, describe
        update_wrapper(self, describe)

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        return self._describe(self._client, *args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._client.carry_out(self._client.conversation.ask(self._call(*args, **kwargs)))

    def pages(self, *args: Any, **kwargs: Any) -> Any:
        return self._client.iterate(self._client.conversation.pages(self._call(*args, **kwargs)))

    def each(self, *args: Any, **kwargs: Any) -> Any:
        return self._client.iterate(self._client.conversation.each(self._call(*args, **kwargs)))


class _BoundDownload(_Bound):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._client.carry_out(self._client.conversation.download(self._call(*args, **kwargs)))

    def pieces(self, *args: Any, **kwargs: Any) -> Any:
        return self._client.iterate(self._client.conversation.pieces(self._call(*args, **kwargs)))


class _BoundStream(_Bound):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._client.iterate(self._client.conversation.follow(self._call(*args, **kwargs)))
