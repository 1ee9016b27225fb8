"""XML files that strangers wrote: the outermost element and the numbers in it, or BadFile."""

from __future__ import annotations

import math
from xml.etree import ElementTree
from xml.parsers import expat

from pathing import file_text
from pathing.errors import BadFile
from pathing.file_text import shortened, shown

# An element in memory is hundreds of bytes. The largest real network has 9,000 elements, 7 deep at the most.
_MAX_ELEMENTS = 500_000
_MAX_PIECES = 2_000_000
_MAX_DEPTH = 100
_MAX_TAG_BYTES = 1024 * 1024
_CHUNK_BYTES = 64 * 1024


def read_root(file: object, data: bytes, tag: str, kind: str) -> ElementTree.Element:
    """Give the outermost element, which must be `tag`, with namespaces taken off all tags.

    `kind` is what the file should be, for messages ("an SNDlib network"). Raises `BadFile` naming the line.
    """
    _Sentry(file, kind).look_through(data)
    try:
        root = ElementTree.fromstring(data)  # noqa: S314 - see _Sentry
    except ElementTree.ParseError as error:
        raise BadFile(file, f"line {error.position[0]}", f"no XML: {error}", kind) from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    if root.tag != tag:
        raise BadFile(
            file, f"element {shown(root.tag)}", f"the outermost element is no {tag}", f"{kind} in <{tag}>"
        )
    return root


def number(file: object, where: str, what: str, text: str | None) -> float:
    """Give the finite number that `text`, the content of `what`, stands for; raises `BadFile`."""
    value = file_text.number(text or "")
    if math.isnan(value):
        raise BadFile(file, where, f"{what} is {shown(text)}", "a finite number")
    return value


class _Sentry:
    """Looks through a file before it is parsed, and refuses what would grow in memory.

    Entities (which can grow a kilobyte to gigabytes or name local files) can only be declared in a DOCTYPE, and
    network files have none. expat itself looks for it, as a search for the bytes would miss it in UTF-16; its
    handler runs before anything in the DOCTYPE is read. Elements, attributes and pieces of text, of which a few
    bytes each make hundreds, are counted, and how deep elements are in each other.
    """

    def __init__(self, file: object, kind: str) -> None:
        self._file, self._kind = file, kind
        self._elements = self._pieces = self._depth = 0
        self._parser = expat.ParserCreate()
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text

    def look_through(self, data: bytes) -> None:
        """Raise `BadFile` naming the line for the first thing that is too much, or no XML."""
        try:
            for start in range(0, len(data), _CHUNK_BYTES):
                end = start + _CHUNK_BYTES
                self._parser.Parse(data[start:end], False)
                # expat keeps a tag that has not ended; one of nothing but attributes would fill the memory.
                if end - self._parser.CurrentByteIndex > _MAX_TAG_BYTES:
                    self._refuse(f"a tag is longer than {_MAX_TAG_BYTES} bytes", "shorter tags")
            self._parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise BadFile(self._file, f"line {error.lineno}", f"no XML: {error}", self._kind) from error
        except (LookupError, ValueError) as error:  # an encoding Python does not have or expat cannot use
            problem = f"encoding: {shortened(str(error))}"
            raise BadFile(self._file, "line 1", problem, "UTF-8 or ISO-8859-1") from error

    def _refuse(self, problem: str, expected: str) -> None:
        raise BadFile(self._file, f"line {self._parser.CurrentLineNumber}", problem, expected)

    def _doctype(self, *_: object) -> None:
        self._refuse("it has a DOCTYPE", f"{self._kind} without DOCTYPE and ENTITY")

    def _start(self, _: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        self._pieces += len(attributes)
        self._depth += 1
        if self._elements > _MAX_ELEMENTS:
            self._refuse(f"it has more than {_MAX_ELEMENTS} elements", "a smaller network")
        if self._depth > _MAX_DEPTH:
            self._refuse(f"elements are more than {_MAX_DEPTH} deep in each other", self._kind)
        self._check_pieces()

    def _end(self, _: str) -> None:
        self._depth -= 1

    def _text(self, _: str) -> None:
        self._pieces += 1
        self._check_pieces()

    def _check_pieces(self) -> None:
        if self._pieces > _MAX_PIECES:
            self._refuse(f"it has more than {_MAX_PIECES} attributes and pieces of text", "a smaller network")
