"""Values with names that stay as they are: frozen dataclasses, for what each request loads.

The module dataclasses takes longer to load than all of ours that a ping needs: it imports inspect,
and writes and compiles methods for each class. What only the admin's commands need is made with it
anyway.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

    from typing_extensions import Self, dataclass_transform
else:

    def dataclass_transform(**_):  # noqa: ANN003, ANN201, D103 - for type checkers alone
        return lambda decorated: decorated


@dataclass_transform(frozen_default=True)
class Record:
    """A class that is derived from this one has a field for each annotation in it, in their order.

    What is assigned to a name there is its default. They are given by position or by name, compared
    field by field, and can't be changed.
    """

    _fields: ClassVar[tuple[str, ...]] = ()
    _needed: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls._fields = tuple(cls.__annotations__)
        cls._needed = tuple(name for name in cls._fields if name not in vars(cls))

    def __init__(self, *values: object, **named: object) -> None:
        fields = self._fields
        given = {**dict(zip(fields, values, strict=False)), **named}
        if (
            len(values) + len(named) != len(given)
            or not given.keys() <= set(fields)
            or not given.keys() >= set(self._needed)
        ):
            raise TypeError(f"{type(self).__name__} takes {', '.join(fields)}")
        self.__dict__.update({name: getattr(type(self), name, None) for name in fields}, **given)

    def replace(self, **changes: object) -> Self:
        """Make one that differs in some fields."""
        return type(self)(**{**self.__dict__, **changes})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} can't be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} can't be changed")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__.values()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({shown})"
