"""XML files that strangers wrote: the outermost element and the numbers in it, or BadFile."""

from __future__ import annotations

import math
from xml.etree import ElementTree
from xml.parsers import expat

from pathing.errors import BadFile


def read_root(file: object, data: bytes, tag: str, kind: str) -> ElementTree.Element:
    """Give the outermost element, which must be `tag`, with namespaces taken off all tags.

    `kind` is what the file should be, for messages ("an SNDlib network"). Raises `BadFile` naming the line.
    """
    _refuse_doctype(file, data, kind)
    try:
        root = ElementTree.fromstring(data)  # noqa: S314 - see _refuse_doctype
    except ElementTree.ParseError as error:
        raise BadFile(file, f"line {error.position[0]}", f"no XML: {error}", kind) from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    if root.tag != tag:
        raise BadFile(file, f"element {root.tag!r}", f"the outermost element is no {tag}", f"{kind} in <{tag}>")
    return root


def number(file: object, where: str, what: str, text: str | None) -> float:
    """Give the finite number that `text`, the content of `what`, stands for; raises `BadFile`."""
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadFile(file, where, f"{what} is {text!r}", "a finite number")
    return value


def _refuse_doctype(file: object, data: bytes, kind: str) -> None:
    """Refuse files with a document type before they are parsed.

    Entities (which can grow a kilobyte to gigabytes or name local files) can only be declared in a DOCTYPE,
    and network files have none. expat itself looks for it, as a search for the bytes would miss it in UTF-16;
    its handler runs before anything in the DOCTYPE is read.
    """

    def refuse(*_: object) -> None:
        expected = f"{kind} without DOCTYPE and ENTITY"
        raise BadFile(file, f"line {parser.CurrentLineNumber}", "it has a DOCTYPE", expected)

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise BadFile(file, f"line {error.lineno}", f"no XML: {error}", kind) from error
    except (LookupError, ValueError) as error:  # an encoding Python does not have or expat cannot use
        raise BadFile(file, "line 1", f"encoding: {error}", "UTF-8 or ISO-8859-1") from error
