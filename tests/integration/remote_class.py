"""What type checkers should think of remote classes: they ignore decorators of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:

    class RemoteClass:
        remote: ClassVar[Any]
        options: ClassVar[Any]

else:
    RemoteClass = object
