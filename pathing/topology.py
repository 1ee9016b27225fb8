"""The network as a directed multigraph whose link attributes are arrays, changed in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TypeVar, Unpack, cast

import numpy as np

from pathing.checks import whole_number
from pathing.csr import FloatArray, IndexArray, Structure, structure
from pathing.errors import TopologyError, UnknownNode
from pathing.link import FLAGS, NUMBERS, Link, LinkChanges, check_fields

T = TypeVar("T")


class Topology:
    """Nodes and directed links, parallel links allowed; nodes and links are added and changed, never removed.

    Link ids are dense from 0 in the order of adding and stay valid; a link that goes away is set `up=False`.
    Not thread-safe: one owner changes it.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._index: dict[str, int] = {}
        self._attributes: list[dict[str, object]] = []
        self._sources: list[int] = []
        self._targets: list[int] = []
        self._out: list[list[int]] = []
        self._columns: dict[str, FloatArray] = {name: np.empty(16) for name in (*NUMBERS, *FLAGS)}
        self._srlg: list[tuple[str | int, ...]] = []
        self._zone: list[str | None] = []
        self._structure: Structure | None = None
        # By what is derived from, then by the module that derives it: none meets what another has kept.
        self._memo: dict[str, dict[str, object]] = {}

    # -- nodes

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self._names)

    @property
    def node_names(self) -> tuple[str, ...]:
        """Names in the order of adding, which is the order of node indexes."""
        return tuple(self._names)

    def add_node(self, name: str, /, **attributes: object) -> None:
        """Add a node with any attributes; raises `TopologyError` for an empty or a known name."""
        if not isinstance(name, str) or not name:
            raise TopologyError(f"node name is {name!r}; it must be a text that is not empty")
        if name in self._index:
            raise TopologyError(f"node {name!r} is already there; give each node its own name")
        self._index[name] = len(self._names)
        self._names.append(name)
        self._attributes.append(attributes)
        self._out.append([])
        self._structure = None
        self._memo.clear()

    def node_index(self, name: str) -> int:
        """Index of a node in all per-node arrays; raises `UnknownNode` with names like it."""
        try:
            return self._index[name]
        except (KeyError, TypeError):
            raise UnknownNode(name, self._names) from None

    def node_attributes(self, name: str) -> Mapping[str, object]:
        """Attributes the node was added with, read-only; raises `UnknownNode`."""
        return MappingProxyType(self._attributes[self.node_index(name)])

    # -- links

    @property
    def n_links(self) -> int:
        """Number of directed links, those that are down included."""
        return len(self._sources)

    def add_link(
        self,
        src: str,
        dst: str,
        *,
        capacity_mbps: float,
        latency_ms: float | None = None,
        loss: float = 0.0,
        cost: float = 1.0,
        weight: float | None = None,
        srlg: Iterable[str | int] = (),
        zone: str | None = None,
        encrypted: bool = False,
        up: bool = True,
    ) -> int:
        """Add a directed link and return its id; fields and units as in `Link`.

        Raises `UnknownNode` for an end that is not there and `TopologyError` for a self-loop or a bad field.
        """
        ends = self.node_index(src), self.node_index(dst)
        if src == dst:
            raise TopologyError(f"link {src!r} -> {dst!r} is a self-loop; leave it out, no path can use it")
        fields: dict[str, object] = {
            "capacity_mbps": capacity_mbps,
            "latency_ms": latency_ms,
            "loss": loss,
            "cost": cost,
            "weight": weight,
            "srlg": srlg,
            "zone": zone,
            "encrypted": encrypted,
            "up": up,
            "utilisation": 0.0,
        }
        fields = check_fields(f"link {src!r} -> {dst!r}", fields)
        link_id = self.n_links
        self._grow(link_id + 1)
        self._sources.append(ends[0])
        self._targets.append(ends[1])
        self._out[ends[0]].append(link_id)
        self._srlg.append(())
        self._zone.append(None)
        self._store(link_id, fields)
        self._structure = None
        self._memo.clear()
        return link_id

    def set_link(self, link_id: int, **changes: Unpack[LinkChanges]) -> None:
        """Change fields of a link in place, all of them or, on `TopologyError`, none."""
        link_id = self._known(link_id)
        fields = check_fields(self._describe(link_id), changes)
        self._store(link_id, fields)
        if "up" in fields:
            self._memo.clear()
        for name in fields:
            self._memo.pop(name, None)

    def link(self, link_id: int) -> Link:
        """Give the link as it is now; raises `TopologyError` for an id that is none."""
        link_id = self._known(link_id)
        number = {name: float(self._columns[name][link_id]) for name in NUMBERS}
        return Link(
            id=link_id,
            src=self._names[self._sources[link_id]],
            dst=self._names[self._targets[link_id]],
            capacity_mbps=number["capacity_mbps"],
            latency_ms=_known_or_none(number["latency_ms"]),
            loss=number["loss"],
            cost=number["cost"],
            weight=_known_or_none(number["weight"]),
            srlg=self._srlg[link_id],
            zone=self._zone[link_id],
            encrypted=bool(self._columns["encrypted"][link_id]),
            up=bool(self._columns["up"][link_id]),
            utilisation=number["utilisation"],
        )

    def links(self) -> Iterator[Link]:
        """All links by id."""
        return (self.link(link_id) for link_id in range(self.n_links))

    def links_between(self, src: str, dst: str) -> tuple[Link, ...]:
        """All links from `src` straight to `dst`, by id; empty when there is none. Raises `UnknownNode`."""
        source, target = self.node_index(src), self.node_index(dst)
        return tuple(self.link(link_id) for link_id in self._out[source] if self._targets[link_id] == target)

    def out_links(self, node: str) -> tuple[Link, ...]:
        """All links that leave `node`, by id; raises `UnknownNode`."""
        return tuple(self.link(link_id) for link_id in self._out[self.node_index(node)])

    # -- arrays

    def array(self, field: str) -> FloatArray:
        """Give one field of all links, (n_links,) float64; NaN where unknown, flags are 0 or 1.

        A read-only view that follows `set_link`; `add_link` may move the data, so ask again after adding
        links.
        """
        if field not in self._columns:
            raise TopologyError(f"no column {field!r}; the columns are {', '.join(self._columns)}")
        view = self._columns[field][: self.n_links]
        view.flags.writeable = False
        return view

    def ends(self) -> tuple[IndexArray, IndexArray]:
        """Node indexes of all links' sources and targets, each (n_links,)."""
        return np.array(self._sources, dtype=np.intp), np.array(self._targets, dtype=np.intp)

    def end_indexes(self, link_id: int) -> tuple[int, int]:
        """Node indexes of one link's source and target."""
        return self._sources[link_id], self._targets[link_id]

    def structure(self) -> Structure:
        """The links grouped by their ends; built once, again only after `add_node` or `add_link`."""
        if self._structure is None:
            self._structure = structure(self._names, *self.ends())
        return self._structure

    def memo(self, field: str, make: Callable[[], T]) -> T:
        """Keep what `make` derives from one column and `up` until either of them or the structure changes.

        Kept for the module that `make` is defined in: modules that derive from the same column do not meet, within
        one of them a field stands for one thing.
        """
        kept, owner = self._memo.setdefault(field, {}), make.__module__
        if owner not in kept:
            kept[owner] = make()
        return cast("T", kept[owner])

    # -- inside

    def _known(self, link_id: int) -> int:
        number = whole_number(link_id)
        if number is None or not 0 <= number < self.n_links:
            raise TopologyError(f"no link with id {link_id!r}; ids run from 0 to {self.n_links - 1}")
        return number

    def _describe(self, link_id: int) -> str:
        source, target = self.end_indexes(link_id)
        return f"link {link_id} ({self._names[source]!r} -> {self._names[target]!r})"

    def _grow(self, needed: int) -> None:
        if needed <= self._columns["up"].size:
            return
        # Doubling keeps adding n links linear in n.
        for name, column in self._columns.items():
            self._columns[name] = np.concatenate((column, np.empty(column.size)))

    def _store(self, link_id: int, fields: Mapping[str, object]) -> None:
        for name, value in fields.items():
            if name == "srlg":
                self._srlg[link_id] = cast("tuple[str | int, ...]", value)
            elif name == "zone":
                self._zone[link_id] = cast("str | None", value)
            else:
                self._columns[name][link_id] = cast("float", value)


def _known_or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
