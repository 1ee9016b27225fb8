"""`lockstitch path` and `lockstitch route`: what they print, write and draw, and how they fail."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from pathing.dataset import Dataset
from pathing.topology import Topology
from ryu_apps import cli
from ryu_apps.paths import busy, map_labels, map_links, map_places, numbers, picture

# Two ways round a square, the shorter one over b, and a stub: a-b-d 2 ms, a-c-d 5 ms, d-e 1 ms; b:d 10 Mbit/s.
GRAPH = """NODES 5
label x y
a 0.0 1.0
b 1.0 2.0
c 1.0 0.5
d 2.0 1.0
e 3.0 1.5

EDGES 11
label src dest weight bw delay
ab 0 1 1 20000 1000
ba 1 0 1 20000 1000
bd 1 3 1 10000 1000
db 3 1 1 10000 1000
ac 0 2 1 20000 2000
ca 2 0 1 20000 2000
cd 2 3 1 20000 3000
dc 3 2 1 20000 3000
cd2 2 3 1 20000 4000
de 3 4 1 20000 1000
ed 4 3 1 20000 1000
"""
DEMANDS = """DEMANDS 3
label src dest bw
0 0 3 12000
1 3 0 4000
2 0 4 6000
"""
SNDLIB = """<network xmlns="http://sndlib.zib.de/network" version="1.0">
 <meta><unit>MBITPERSEC</unit></meta>
 <networkStructure>
  <nodes coordinatesType="pixel">
   <node id="a"><coordinates><x>1</x><y>1</y></coordinates></node>
   <node id="b"><coordinates><x>900</x><y>1</y></coordinates></node>
   <node id="d"><coordinates><x>500</x><y>700</y></coordinates></node>
  </nodes>
  <links>
   <link id="ab"><source>a</source><target>b</target>
    <preInstalledModule><capacity>10</capacity><cost>1</cost></preInstalledModule></link>
   <link id="bd"><source>b</source><target>d</target>
    <preInstalledModule><capacity>10</capacity><cost>1</cost></preInstalledModule></link>
  </links>
 </networkStructure>
 <demands>
  <demand id="ad"><source>a</source><target>d</target><demandValue>8</demandValue></demand>
 </demands>
</network>
"""
GRAPHML = """<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
 <key attr.name="label" attr.type="string" for="node" id="l" />
 <key attr.name="LinkSpeedRaw" attr.type="double" for="edge" id="s" />
 <graph edgedefault="undirected">
  <node id="0"><data key="l">a</data></node>
  <node id="1"><data key="l">b</data></node>
  <node id="2"><data key="l">d</data></node>
  <edge source="0" target="1"><data key="s">20000000</data></edge>
  <edge source="1" target="2"><data key="s">20000000</data></edge>
 </graph>
</graphml>
"""
# No unit, no coordinates, and no capacity at the second link.
BARE = SNDLIB.replace("MBITPERSEC", "").replace(
    "<capacity>10</capacity><cost>1</cost></preI", "<cost>1</cost></preI", 1
)
PNG = b"\x89PNG\r\n"
TOPOLOGIES = Path(__file__).parents[3] / "shared" / "data" / "topologies"


def lockstitch(*arguments: object, code: int = 0) -> str:
    """What it prints in all; a `code` of -1 stands for any."""
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments], env={"COLUMNS": "120"})
    assert code in (result.exit_code, -1), result.output
    assert "Traceback" not in result.output
    return result.output


def found(*arguments: object) -> Any:
    return json.loads(lockstitch("path", *arguments, "--json"))


def failed(*arguments: object) -> str:
    """The line that tells what is wrong, with the notes before it."""
    shown = lockstitch(*arguments, code=1)
    *notes, error = shown.splitlines()
    assert error.startswith("error: ") and all(note.startswith("note: ") for note in notes)
    return shown


def refused(*arguments: object) -> str:
    """What is said of a command that makes no sense, in one line and without the frame."""
    shown = lockstitch(*arguments, code=2)
    return " ".join(re.sub("[│╭╮╰╯─]", " ", shown).split())


@pytest.fixture
def net(tmp_path: Path) -> Path:
    file = tmp_path / "net.graph"
    file.write_text(GRAPH)
    (tmp_path / "net.demands").write_text(DEMANDS)
    (tmp_path / "net.xml").write_text(SNDLIB)
    (tmp_path / "net.graphml").write_text(GRAPHML)
    return file


# path ----------------------------------------------------------------------------------------------------


def test_the_shortest_path_is_shown_with_its_figures(net: Path) -> None:
    shown = lockstitch("path", net, "a", "e")
    assert "a to e" in shown and "1: a > b > d > e\n" in shown and "link:" not in shown
    assert "(link:0 link:2 link:9)" in lockstitch("path", net, "a", "e", "--ids")
    assert found(net, "a", "e") == {
        "by": "latency_ms",
        "paths": [
            {
                "nodes": ["a", "b", "d", "e"],
                "links": [0, 2, 9],
                "latency_ms": 3.0,
                "loss": 0.0,
                "hops": 3,
                "capacity_mbps": 10.0,
                "weight": 3.0,
            }
        ],
        "notes": [],
    }


@pytest.mark.parametrize(
    ("limits", "links"),
    [
        (("--bandwidth", "15"), [4, 6]),
        (("--bandwidth", "15", "--max-latency", "5", "--max-hops", "2", "--max-loss", "0.5"), [4, 6]),
        (("--avoid", "b"), [4, 6]),
        (("--avoid", "b:d"), [4, 6]),
        (("--avoid", "b", "--avoid", "link:6"), [4, 8]),
        (("--require", "c"), [4, 6]),
        (("--require", "link:8"), [4, 8]),
        (("--require", "a:c"), [4, 6]),
        (("--weight", "hops", "--avoid", "a:b"), [4, 6]),
        (("--avoid", "b:a"), [0, 2]),
    ],
)
def test_a_limit_or_a_place_makes_it_take_the_other_way(
    net: Path, limits: tuple[str, ...], links: list[int]
) -> None:
    assert [one["links"] for one in found(net, "a", "d", *limits)["paths"]] == [links]


def test_a_limit_that_no_path_keeps_is_answered_with_the_nearest_that_one_does(net: Path) -> None:
    shown = failed("path", net, "a", "d", "--bandwidth", "15", "--max-latency", "4.5")
    assert "no path from 'a' to 'd'" in shown and "ms is the least" in shown
    assert found(net, "a", "d", "--bandwidth", "15", "--max-latency", "5")["paths"]


def test_several_shortest_paths(net: Path) -> None:
    answer = found(net, "a", "d", "--k", "5")
    assert [(one["links"], one["weight"]) for one in answer["paths"]] == [
        ([0, 2], 2.0),
        ([4, 6], 5.0),
        ([4, 8], 6.0),
    ]


def test_disjoint_paths_say_that_they_share_nothing_or_what(net: Path) -> None:
    assert "In common: nothing. Total weight 7; no such paths weigh less." in lockstitch(
        "path", net, "a", "d", "--disjoint", "2", "--by", "node"
    )
    assert "disjoint" in failed("path", net, "a", "e", "--disjoint", "2")
    shown = lockstitch("path", net, "a", "e", "--disjoint", "2", "--maximally")
    assert "In common: links d:e (link:9)." in shown
    assert found(net, "a", "e", "--disjoint", "2", "--maximally")["shared"]["links"] == [9]


def test_a_path_from_a_node_to_itself_has_no_links(net: Path) -> None:
    assert found(net, "a", "a")["paths"][0]["links"] == []
    assert "1: a\n" in lockstitch("path", net, "a", "a")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a", "x"), "no node 'x' in it"),
        (("a", "d", "--avoid", "x"), "no node 'x' in it"),
        (("a", "d", "--avoid", "a:x"), "no node 'x' in it"),
        (("a", "d", "--avoid", "a:d"), "no link goes from 'a' straight to 'd'"),
        (("a", "d", "--avoid", "link:99"), "no link with id 99"),
        (("a", "d", "--require", "c:d"), "require one of link:6, link:8"),
        (("A", "d"), "did you mean 'a'?"),
    ],
)
def test_what_is_not_in_the_file_is_told_in_one_line(net: Path, arguments: tuple[str, ...], words: str) -> None:
    assert words in failed("path", net, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ("path", "x.graph", "a", "a", "--disjoint", "2"),
        ("path", "x.graph", "a"),
        ("path", "x.graph", "a", "d", "--k", "2", "--disjoint", "2"),
        ("path", "x.graph", "a", "d", "--k", "2", "--avoid", "b"),
        ("path", "x.graph", "a", "d", "--weight", "colour"),
        ("path", "x.graph", "a", "d", "--max-hops", "many"),
        ("route",),
        ("route", "x.graph", "--plot", "out.txt"),
        *(("path", "x.graph", "a", "d", option, "0") for option in ("--k", "--disjoint", "--capacity")),
        *(
            ("path", "x.graph", "a", "d", option, value)
            for option in ("--max-latency", "--max-loss", "--bandwidth", "--capacity")
            for value in ("-1", "nan", "inf")
        ),
        ("path", "x.graph", "a", "d", "--max-hops", "-1"),
        ("path", "x.graph", "a", "d", "--max-loss", "1.5"),
        *(("route", "x.graph", "--gap", value) for value in ("-1", "0", "nan", "inf")),
        *(("route", "x.graph", "--time-limit", value) for value in ("-1", "nan", "inf")),
        ("route", "x.graph", "--max-paths", "0"),
    ],
)
def test_a_command_that_makes_no_sense_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    lockstitch(*arguments, code=2)


def test_names_with_colons_and_brackets_are_taken_as_they_are(tmp_path: Path) -> None:
    text = "NODES 3\nlabel x y\na:b 0 0\n[bold]c 1 0\nlink:1 2 0\n\nEDGES 2\nlabel src dest weight bw delay\n"
    file = tmp_path / "odd.graph"
    file.write_text(text + "e0 0 1 1 1000 1\ne1 1 2 1 1000 1\n")
    assert "1: a:b > [bold]c > link:1" in lockstitch("path", file, "a:b", "link:1")
    assert "--avoid" in failed("path", file, "a:b", "link:1", "--avoid", "a:b:[bold]c")
    assert "'link:1' is the destination" in refused("path", file, "a:b", "link:1", "--avoid", "link:1")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--avoid", "a"), "'a' is the source"),
        (("--avoid", "b", "--require", "b"), "'b' is required too"),
        (("--avoid", "link:2", "--require", "b:d"), "'link:2' is required too"),
        (("--by", "node"), "give --disjoint K too"),
        (("--maximally",), "give --disjoint K too"),
        (("--k", "2", "--avoid", "b", "--max-hops", "3"), "without --max-hops, --avoid; within limits there are"),
    ],
)
def test_options_that_contradict_each_other_are_named(net: Path, arguments: tuple[str, ...], words: str) -> None:
    assert words in refused("path", net, "a", "d", *arguments)


def test_messages_speak_of_options(net: Path) -> None:
    for arguments, option in (
        (("--max-latency", "1"), "--max-latency"),
        (("--max-hops", "1"), "--max-hops"),
        (("--bandwidth", "50"), "--bandwidth"),
        (("--avoid", "b", "--avoid", "c"), "--avoid"),
        (("--disjoint", "2", "--max-latency", "3"), "--max-latency"),
    ):
        shown = failed("path", net, "a", "d", *arguments)
        assert option in shown and "_" not in shown.partition(": ")[2].replace(str(net), "")


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(tmp_path: Path) -> None:
    file = tmp_path / "names.graph"
    file.write_text("NODES 2\nlabel x y\n0_New_York 0 0\nWASHng 1 0\n\nEDGES 0\nlabel src dest weight bw delay\n")
    assert "did you mean 'WASHng'?" in failed("path", file, "Washng", "0_New_York")
    assert "did you mean '0_New_York'?" in failed("path", file, "WASHng", "0")
    assert "did you mean '0_New_York'?" in failed("path", file, "WASHng", "new_york")


def test_what_the_file_says_nothing_about_is_noted(net: Path) -> None:
    shown = lockstitch("path", net, "a", "d", "--disjoint", "2", "--by", "srlg", "--weight", "loss")
    assert "note: no link has a shared-risk group" in shown
    assert "note: no link has a loss above 0" in shown
    graphml = net.with_suffix(".graphml")
    for weight, words in (("weight", "charged as 1"), ("cost", "a cost of 1"), ("utilisation", "above 0")):
        assert any(words in note for note in found(graphml, "a", "d", "--weight", weight)["notes"])
    assert found(net, "a", "d", "--weight", "weight")["notes"] == []
    assert "there are no more than 3 paths" in lockstitch("path", net, "a", "d", "--k", "5")


def test_a_long_path_breaks_between_nodes_and_never_in_one(tmp_path: Path) -> None:
    names = [f"node-number-{number}" for number in range(30)]
    lines = [f"e{number} {number} {number + 1} 1 1000 1" for number in range(29)]
    text = ["NODES 30", "label x y", *(f"{name} 0 0" for name in names)]
    text += ["EDGES 29", "label src dest weight bw delay", *lines]
    file = tmp_path / "long.graph"
    file.write_text("\n".join(text))
    shown = lockstitch("path", file, names[0], names[-1])
    hops = shown[shown.index("1: ") + 3 : shown.index("note:")].split()
    assert hops == " > ".join(names).split()
    assert all(len(line) <= 120 for line in shown.splitlines())


# files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["net.graph", "net.xml", "net.graphml"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_a_network_is_told_by_its_name_or_by_what_is_in_it(
    net: Path, name: str, packed: bool, named: bool
) -> None:
    data = (net.parent / name).read_bytes()
    file = net.parent / ((name if named else "network") + (".gz" if packed else ""))
    file.write_bytes(gzip.compress(data) if packed else data)
    assert found(file, "a", "d")["paths"][0]["nodes"] == ["a", "b", "d"]


def test_a_file_that_is_no_network_is_one_line(net: Path) -> None:
    junk = net.parent / "junk"
    for data in (b"", b"hello", b"\x1f\x8bnot gzip", b"<html></html>", b"NODES many"):
        junk.write_bytes(data)
        assert str(junk) in failed("path", junk, "a", "d")
    assert "No such file" in failed("path", net.parent / "gone.graph", "a", "d")
    assert "directory" in failed("path", net.parent, "a", "d")


@pytest.mark.parametrize("command", ["path", "route"])
def test_what_was_assumed_is_noted_whatever_becomes_of_it(net: Path, command: str) -> None:
    bare, out = net.parent / "bare.graphml", net.parent / "plan.json"
    bare.write_text(GRAPHML.replace('<data key="s">20000000</data>', ""))
    ends = ("a", "d") if command == "path" else ("--demands", net.with_suffix(".xml"))
    shown = [lockstitch(command, bare, *ends, *(("--json", out) if command == "route" else ()), code=-1)]
    if command == "path":
        shown += [lockstitch("path", bare, "a", "d", "--json"), failed("path", bare, "a", "x")]
    else:
        shown += [out.read_text(), failed("route", bare)]
    for one in shown:
        assert "no LinkSpeedRaw at 2 of 2 edges, 1 Mbit/s assumed" in one
        assert "latency of 4 of 4 links unknown, charged as 1 ms each" in one


def test_the_capacity_of_links_without_one_can_be_said(net: Path) -> None:
    bare = net.parent / "bare.xml"
    bare.write_text(BARE)
    assert "no capacity" in failed("path", bare, "a", "d")
    answer = found(bare, "a", "d", "--capacity", "4")
    assert answer["paths"][0]["capacity_mbps"] == 4.0
    assert answer["notes"][0] == "no unit given, Mbit/s assumed"
    assert "no capacity at 1 of its links, 4 Mbit/s assumed" in answer["notes"]
    assert "--capacity is not used" in found(net, "a", "d", "--capacity", "4")["notes"][0]


def test_what_a_reader_left_out_is_noted(net: Path) -> None:
    net.write_text(GRAPH.replace("de 3 4", "de 3 3"))
    assert "note: line 20: de left out, a loop from 'd' to itself" in lockstitch("path", net, "a", "d")


# route ---------------------------------------------------------------------------------------------------


def test_all_demands_are_routed_and_the_plan_is_written(net: Path) -> None:
    out = net.parent / "plan.json"
    shown = lockstitch("route", net, "--demands", net.with_suffix(".demands"), "--json", out)
    for part in ("5 nodes, 11 links", "3, 22 Mbit/s", "fullest link", "gap", "Fullest links", "optimal"):
        assert part in shown
    assert "not routed" not in shown and f"Written: {out}" in shown
    plan = json.loads(out.read_text())
    # All 18 Mbit/s over b:d.
    assert "180.0 % (least latency)" in shown and plan["mlu_on_shortest_paths"] == pytest.approx(1.8)
    assert plan["unroutable"] == [] and plan["notes"] == ["the demands name 3 of 5 nodes"]
    # 18 Mbit/s leave a, over b:d and a:c with 30 Mbit/s together.
    assert plan["mlu"] == pytest.approx(0.6, abs=2e-3)
    assert plan["lower_bound"] <= plan["mlu"]
    assert plan["mlu"] == pytest.approx(max(link["utilisation"] for link in plan["links"]))
    load = np.zeros(len(plan["links"]))
    for demand in plan["demands"]:
        assert sum(path["share"] for path in demand["paths"]) == pytest.approx(1.0)
        for path in demand["paths"]:
            assert (path["nodes"][0], path["nodes"][-1]) == (demand["src"], demand["dst"])
            load[path["links"]] += demand["mbps"] * path["share"]
    assert load == pytest.approx([link["load_mbps"] for link in plan["links"]])


def test_unsplittable_gives_each_demand_one_path(net: Path) -> None:
    out = net.parent / "plan.json"
    lockstitch("route", net, "--demands", net.with_suffix(".demands"), "--json", out, "--unsplittable")
    assert [len(demand["paths"]) for demand in json.loads(out.read_text())["demands"]] == [1, 1, 1]


def test_demands_above_capacity_are_named_with_what_is_too_much(net: Path) -> None:
    net.with_suffix(".demands").write_text("DEMANDS 1\nlabel src dest bw\n0 0 4 35000\n")
    shown = lockstitch("route", net, "--demands", net.with_suffix(".demands"), code=3)
    assert "everything fits when 1 demand is cut by 15 Mbit/s" in shown
    assert "175.0 %" in shown and "(3 of 11 are at the maximum)" in shown


def test_links_that_overflow_for_want_of_a_second_path_are_told_so(net: Path) -> None:
    net.with_suffix(".demands").write_text("DEMANDS 1\nlabel src dest bw\n0 0 3 25000\n")
    arguments = ("route", net, "--demands", net.with_suffix(".demands"))
    assert "overflow" not in lockstitch(*arguments)
    assert "nothing need be cut: everything fits with more paths" in " ".join(
        lockstitch(*arguments, "--unsplittable", code=3).split()
    )


def test_demands_that_nothing_joins_are_named(net: Path) -> None:
    net.write_text(GRAPH.replace("de 3 4", "de 3 2"))
    out = net.parent / "plan.json"
    shown = lockstitch("route", net, "--demands", net.with_suffix(".demands"), "--json", out, code=4)
    assert "no way joins the ends of 1 demand:" in shown
    assert re.search(r"not routed\W+1 demand, 6 Mbit/s", shown)
    assert json.loads(out.read_text())["unroutable"] == [{"src": "a", "dst": "e", "mbps": 6.0}]


def test_idle_links_are_not_among_the_fullest(net: Path) -> None:
    net.with_suffix(".demands").write_text("DEMANDS 1\nlabel src dest bw\n0 3 4 4000\n")
    shown = lockstitch("route", net, "--demands", net.with_suffix(".demands"))
    table = shown[shown.index("Fullest links") :]
    assert "(1 of 11 is at the maximum)" in table and table.count("Mbit/s") == 2


def test_demands_for_a_part_of_the_nodes_are_noted(net: Path) -> None:
    assert "note: the demands name 3 of 5 nodes" in lockstitch(
        "route", net, "--demands", net.with_suffix(".demands")
    )


def test_a_file_without_demands_is_answered_with_both_formats(net: Path) -> None:
    for name in ("net.graph", "net.graphml", "junk"):
        (net.parent / "junk").write_bytes(b"hello")
        shown = failed("route", net, "--demands", net.parent / name)
        assert "REPETITA .demands" in shown and "SNDlib XML" in shown


def test_the_demands_of_an_sndlib_network_come_with_it_or_go_with_another(net: Path) -> None:
    sndlib, graphml = net.with_suffix(".xml"), net.with_suffix(".graphml")
    assert "80.0" in lockstitch("route", sndlib)
    assert "40.0" in lockstitch("route", graphml, "--demands", sndlib)
    assert "no demands in it; expected a network with demands, or --demands FILE" in failed("route", graphml)
    numbered = net.parent / "three.demands"
    numbered.write_text("DEMANDS 1\nlabel src dest bw\n0 0 2 5000\n")
    assert "25.0" in lockstitch("route", graphml, "--demands", numbered)
    assert "a node number from 0 to 2" in failed("route", graphml, "--demands", net.with_suffix(".demands"))
    net.write_text("NODES 1\nlabel x y\na 0 0\n\nEDGES 0\nlabel src dest weight bw delay\n")
    assert "no node 'd' in" in failed("route", net, "--demands", sndlib)


def test_output_never_goes_over_what_is_read(net: Path) -> None:
    demands, link = net.with_suffix(".demands"), net.parent / "link.png"
    link.symlink_to(net)
    route = ("route", net, "--demands", demands)
    for arguments, words in (
        (("--json", net), "is FILE too"),
        (("--json", demands), "is --demands too"),
        (("--plot", link), "is FILE too"),
        (("--json", "same.png", "--plot", "./same.png"), "is --json too"),
    ):
        assert words in refused(*route, *arguments)
    assert (net.read_text(), demands.read_text()) == (GRAPH, DEMANDS)


def test_a_plan_goes_to_standard_output_alone(net: Path) -> None:
    arguments = ["route", str(net), "--demands", str(net.with_suffix(".demands")), "--json", "-"]
    result = CliRunner().invoke(cli.app, [*arguments, "--plot", str(net.with_suffix(".png"))])
    assert json.loads(result.stdout)["status"] == "optimal"
    assert "Written" in result.stderr and not Path("-").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full, which is always full")
def test_a_full_disk_is_named_and_takes_nothing_away(net: Path) -> None:
    shown = lockstitch("route", net, "--demands", net.with_suffix(".demands"), "--json", "/dev/full", code=1)
    assert "Fullest links" in shown and "error: /dev/full: it could not be written: No space left" in shown


def test_an_interruption_is_one_word(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pathing.k_shortest.k_shortest_paths", stop)
    assert lockstitch("path", net, "a", "d", "--k", "2", code=130) == "interrupted\n"


def test_piped_output_is_told_from_time_to_time_what_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(busy, "LINE_EVERY_S", 0.01)
    with busy.busy("reading") as say:
        say("round 3: best 90 %, bound 80 %")
        told = ""
        for _ in range(500):
            told += capsys.readouterr().err
            if "round 3" in told:
                break
            threading.Event().wait(0.01)
    assert "round 3: best 90 %, bound 80 % (0 s)\n" in told


def test_output_that_cannot_be_written_is_told_before_the_work_is_done(net: Path) -> None:
    gone = net.parent / "gone"
    assert "cannot be written" in failed("route", net.with_suffix(".xml"), "--json", gone / "plan.json")
    assert "cannot be written" in failed("route", net.with_suffix(".xml"), "--plot", gone / "plan.png")
    assert "it is a directory" in failed("route", net.with_suffix(".xml"), "--json", net.parent)


# pictures ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "magic"), [("png", PNG), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_a_plan_is_drawn(net: Path, suffix: str, magic: bytes) -> None:
    out = net.parent / f"plan.{suffix}"
    lockstitch("route", net, "--demands", net.with_suffix(".demands"), "--plot", out)
    assert out.read_bytes().startswith(magic)


@pytest.fixture
def no_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("picture", "map_links", "map_labels"):
        monkeypatch.delitem(sys.modules, f"ryu_apps.paths.{module}")
        monkeypatch.delattr(f"ryu_apps.paths.{module}")
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.mark.usefixtures("no_matplotlib")
def test_without_matplotlib_the_remedy_is_named_and_the_rest_works(net: Path) -> None:
    out = net.parent / "plan.png"
    assert "pip install 'lockstitch[plot]'" in failed("route", net.with_suffix(".xml"), "--plot", out)
    assert not out.exists()
    assert "Plan" in lockstitch("route", net.with_suffix(".xml"))


def star(coordinates: dict[str, tuple[float, float]]) -> Dataset:
    """A node of four neighbours: two ways, one way, two parallel links, and one that is down."""
    topology = Topology()
    for name in "abcde":
        topology.add_node(name)
    for src, dst, up in (("a", "b", True), ("b", "a", True), ("a", "c", True), ("a", "d", True), ("a", "d", True)):
        topology.add_link(src, dst, capacity_mbps=10.0, up=up)
    topology.add_link("a", "e", capacity_mbps=10.0, up=False)
    return Dataset(topology, {}, coordinates)


@pytest.mark.parametrize(
    "coordinates",
    [
        {},
        {"a": (0.0, 0.0), "b": (1.0, 1.0), "c": (2.0, 1.0), "d": (3.0, 0.0), "e": (0.0, 0.0)},
        dict.fromkeys("abcde", (7.0, 7.0)),
        {"a": (5.0, 5.0)},
    ],
)
def test_any_coordinates_give_a_picture(tmp_path: Path, coordinates: dict[str, tuple[float, float]]) -> None:
    load = np.array([0.0, 5.0, 10.0, 25.0, 1.0, 0.0])
    picture.draw(tmp_path / "star.png", star(coordinates), load, "$x_$ is no formula")
    assert (tmp_path / "star.png").read_bytes().startswith(PNG)


def test_a_network_of_nothing_is_routed_and_drawn(net: Path) -> None:
    net.write_text("NODES 0\nlabel x y\nEDGES 0\nlabel src dest weight bw delay\n")
    net.with_suffix(".demands").write_text("DEMANDS 0\nlabel src dest bw\n")
    out = net.parent / "plan.png"
    assert "Plan" in lockstitch("route", net, "--demands", net.with_suffix(".demands"), "--plot", out)
    assert out.read_bytes().startswith(PNG)


def test_nodes_upon_each_other_are_pushed_apart_and_others_stay() -> None:
    places = np.array([[0.0, 0.0], [0.0, 0.0], [3.0, 0.0], [90.0, 40.0]])
    apart = map_places.spread(places, 10.0)
    gaps = [np.linalg.norm(apart[i] - apart[j]) for i in range(4) for j in range(i)]
    assert min(gaps) > 9.0
    assert apart[3] == pytest.approx(places[3], abs=0.01)


def test_a_node_alone_is_a_picture_too(tmp_path: Path) -> None:
    topology = Topology()
    topology.add_node("$a_b$")
    picture.draw(tmp_path / "one.png", Dataset(topology), np.empty(0), "")
    assert (tmp_path / "one.png").read_bytes().startswith(PNG)


def test_both_directions_and_parallel_links_lie_beside_each_other() -> None:
    topology = star({}).topology
    places = np.array([[100.0, 100.0], [300.0, 100.0], [100.0, 300.0], [100.0, -100.0], [0.0, 0.0]])
    utilisation = np.array([1.0, 1.0, 0.5, 1.0, 1.0, 0.0])
    shapes = map_links.shapes(topology, places, utilisation, map_links.Scale(7.0, 5.0, 9.0))
    there, back, _, first, second, _ = (shape[:, 1] for shape in shapes)
    # From a to b is to the east: what drives on the right is below the line, what comes back above it.
    assert there.max() < 100.0 < back.min()
    first, second = shapes[3][:, 0], shapes[4][:, 0]
    assert max(first) < 100.0 and max(second) < min(first)


def test_names_hide_neither_nodes_nor_each_other() -> None:
    rng = np.random.default_rng(3)
    nodes = rng.uniform(100, 500, (60, 2))
    page = map_places.Page(800.0, 600.0)
    labels = map_labels.Labels(nodes, nodes, map_links.Scale(3.0, 4.0, 8.0), page)
    boxes = [box for node in nodes if (box := labels.place("a name of some length", node)) is not None]
    assert 10 < len(boxes) < 60
    for number, (x, y, right, top) in enumerate(boxes):
        assert not ((nodes > (x, y)) & (nodes < (right, top))).all(axis=1).any()
        for other in boxes[:number]:
            assert x >= other[2] or right <= other[0] or y >= other[3] or top <= other[1]


def test_a_page_is_hardly_larger_than_the_map_and_larger_for_more_nodes() -> None:
    corners = np.array([[0.0, 0.0], [1.0, 2.0]])
    for places, times in ((corners, 1.0), (np.repeat(corners, 120, axis=0), 2.0)):
        points, page = map_places.fit(places)
        low, high = points.min(axis=0), points.max(axis=0)
        assert (low > 0).all() and high[0] < page.width and high[1] < page.height
        assert (high - low)[1] == pytest.approx(2 * (high - low)[0])
        assert (high - low)[1] > 0.8 * page.height - 50
        assert page.height == pytest.approx(times * 684 + 150, abs=1)


def test_the_ends_of_the_fullest_links_are_named_first() -> None:
    topology = star({}).topology
    load = np.array([2.0, 0.0, 1.0, 9.0, 0.0, 0.0])
    assert [topology.node_names[node] for node in map_labels.in_order(topology, load)][:3] == ["a", "d", "b"]


def test_a_head_is_no_longer_than_its_link() -> None:
    topology = star({}).topology
    places = np.array([[100.0, 100.0], [102.0, 100.0], [100.0, 103.0], [100.0, 97.0], [0.0, 0.0]])
    shapes = map_links.shapes(topology, places, np.ones(6), map_links.Scale(7.0, 5.0, 9.0))
    east = shapes[0][:, 0]
    assert east.min() >= 100.0 and east.max() <= 102.0


def test_over_capacity_is_darker_than_full_and_nearly_empty_plans_show_their_shades() -> None:
    def light(colour: Any) -> float:
        return float(np.dot(colour[:3], (0.299, 0.587, 0.114)))

    over = map_links._colours(1.5)
    full, above = over(0.99 / 1.5), over(1.01 / 1.5)
    assert light(over(0.1)) > light(full) > light(over(1.0)) and tuple(full) != tuple(above)
    assert map_links.top(np.array([0.0, 0.02])) == 0.02
    assert light(map_links._colours(0.02)(1.0)) < 0.3 < light(map_links._colours(0.02)(0.0))


# figures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mbps", "written"),
    [
        (3e6, "3,000 Gbit/s"),
        (9920.0, "9.92 Gbit/s"),
        (999.99, "1 Gbit/s"),
        (155.52, "155.5 Mbit/s"),
        (0.188725, "188.7 kbit/s"),
        (2e-5, "20 bit/s"),
        (0.0, "0 Mbit/s"),
        (None, "-"),
    ],
)
def test_traffic_is_written_with_four_digits_and_never_an_exponent(mbps: float | None, written: str) -> None:
    assert numbers.mbps(mbps) == written


def test_names_fold_after_separators_only() -> None:
    assert numbers.folded("10_Indianapolis", 13) == "10_\nIndianapolis"
    assert numbers.folded("Liverpool/Southport (12)", 20) == "Liverpool/Southport \n(12)"
    assert numbers.folded("Llanfairpwllgwyngyll", 8) == "Llanfairpwllgwyngyll"


# start-up ------------------------------------------------------------------------------------------------


def test_help_does_not_wait_for_what_calculates_or_draws() -> None:
    script = (
        "import sys, ryu_apps.cli\n"
        "heavy = {'numpy', 'scipy', 'highspy', 'networkx', 'matplotlib', 'pathing'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


# real networks -------------------------------------------------------------------------------------------


def test_abilene_is_routed_at_its_known_optimum_and_drawn(tmp_path: Path) -> None:
    graph = TOPOLOGIES / "repetita_zoo" / "Abilene.graph"
    if not graph.exists():
        pytest.skip(f"no topologies at {TOPOLOGIES}; put the shared data beside the checkout")
    out = tmp_path / "plan.json"
    demands = graph.with_name("Abilene.0000.demands.gz")
    lockstitch("route", graph, "--demands", demands, "--json", out, "--plot", tmp_path / "plan.png")
    assert json.loads(out.read_text())["mlu"] == pytest.approx(0.9, rel=2e-3)
    assert (tmp_path / "plan.png").read_bytes().startswith(PNG)


def test_an_sndlib_network_is_routed(tmp_path: Path) -> None:
    file = TOPOLOGIES / "sndlib" / "abilene.xml.gz"
    if not file.exists():
        pytest.skip(f"no topologies at {TOPOLOGIES}; put the shared data beside the checkout")
    out = tmp_path / "plan.json"
    # Its demands are for a network yet to be built.
    assert "6,041 %" in lockstitch("route", file, "--json", out, code=3)
    plan = json.loads(out.read_text())
    assert plan["mlu"] <= plan["lower_bound"] * 1.002


def test_of_three_paths_over_abilene_two_are_disjoint() -> None:
    file = TOPOLOGIES / "sndlib" / "abilene.xml.gz"
    if not file.exists():
        pytest.skip(f"no topologies at {TOPOLOGIES}; put the shared data beside the checkout")
    answer = found(file, "NYCMng", "LOSAng", "--disjoint", "3", "--maximally")
    links = [set(path["links"]) for path in answer["paths"]]
    assert any(one.isdisjoint(other) for one in links for other in links)
