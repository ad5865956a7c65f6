"""Faults planted in trajectories of a real robot are named; the real recordings are not doubted.

Skipped where no real recordings are at hand, as in `test_real_data.py`. The G1 moved its right arm
and hand; its left arm hardly, so that sign and order of those joints cannot be judged.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from demos import embodiment as embodiments
from demos.errors import ImportFailed
from demos.importers import import_source
from demos.model import Embodiment, Joint
from demos.store import EpisodeStore
from tests.planted_faults import (
    Fault,
    Recorded,
    doubled,
    exchanged,
    in_counts,
    in_degrees,
    missing,
    names_it,
    pairs,
    suspicions,
    tried,
    turned,
)
from tests.test_real_data import DATA, G1, GR1

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real recordings in {DATA}")

BODY = embodiments.load("unitree_g1_inspire")
JOINTS = [joint.name for joint in BODY.joints]
ARMS, HANDS = range(14), range(14, 26)
RIGHT_ARM, RIGHT_HAND = range(7, 14), range(20, 26)
MOVING = (*RIGHT_ARM, *RIGHT_HAND)


def read(root: Path) -> list[Recorded]:
    info = json.loads((root / "meta/info.json").read_text())
    [names] = info["features"]["observation.state"]["names"]
    found = []
    for path in sorted(root.rglob("episode_*.parquet")):
        table = pq.read_table(path, columns=["observation.state", "action"])
        state, command = (np.array(column.to_pylist(), np.float32) for column in table.columns)
        found.append(Recorded(tuple(names), state, command, float(info["fps"])))
    return found


@pytest.fixture(scope="module")
def g1() -> list[Recorded]:
    episodes = read(G1)
    assert len(episodes) == 20
    return episodes


def unnamed(faults: Sequence[Fault], sources: Sequence[Sequence[Recorded]]) -> list[str]:
    """Plant each fault in each source and return those that were not named."""
    return [
        f"{fault.cause} of {[JOINTS[n] for n in fault.columns]} in source {number}"
        for number, source in enumerate(sources)
        for fault in faults
        if not names_it(suspicions([fault.harm(each) for each in source], BODY), fault, JOINTS)
    ]


def test_the_real_g1_is_not_doubted_by_the_episode_nor_by_eight(g1: list[Recorded]) -> None:
    alone = [[episode] for episode in g1]
    by_eight = [[*g1[n:], *g1[:n]][:8] for n in range(20)]

    assert [suspicions(each, BODY) for each in (*alone, *by_eight, g1)] == [[]] * 41


def test_the_simulated_gr1_is_not_doubted() -> None:
    episodes = []
    for path in sorted(GR1.rglob("episode_*.parquet")):
        table = pq.read_table(path, columns=["observation.state", "action"])
        state, command = (np.array(column.to_pylist(), np.float32) for column in table.columns)
        names = tuple(f"joint {n}" for n in range(state.shape[1]))
        episodes.append(Recorded(names, state, command, 20.0))
    low = np.min([np.minimum(e.state.min(0), e.command.min(0)) for e in episodes], axis=0) - 0.1
    high = np.max([np.maximum(e.state.max(0), e.command.max(0)) for e in episodes], axis=0) + 0.1
    body = Embodiment(
        id="gr1",
        title="GR1 as far as it moved",
        joints=tuple(
            Joint(name=f"joint {n}", group="all", lower=float(low[n]), upper=float(high[n]))
            for n in range(len(low))
        ),
    )

    # whole hands are told one number, which nobody here says of this body
    found = [suspicions(each, body) for each in (*([e] for e in episodes), episodes)]

    assert [f.cause for each in found for f in each] == []


WRONG = [
    *(in_degrees(n) for n in ARMS),
    *(in_counts(n, 2 * np.pi / 4096, 2048) for n in ARMS),
    *(in_counts(n, 0.001, 0) for n in HANDS),
    *(missing(n) for n in range(26)),
    *(doubled(n, n + 1) for n in range(25)),
]
TURNED = [
    *(turned(n) for n in RIGHT_ARM),
    *(turned(n, lambda values: 1 - values) for n in RIGHT_HAND),
]
EXCHANGED = [
    exchanged(a, b) for a, b in pairs(26) if {a, b} <= set(RIGHT_ARM) or {a, b} <= set(RIGHT_HAND)
]


def test_units_and_channels_that_are_wrong_are_named_in_single_episodes(
    g1: list[Recorded],
) -> None:
    assert unnamed(WRONG, [[g1[11]]]) == []


def test_turned_signs_are_named_of_every_joint_that_moves(g1: list[Recorded]) -> None:
    assert unnamed(TURNED, [g1[:8]]) == []


def test_exchanged_channels_are_named_of_every_two_joints_that_move(g1: list[Recorded]) -> None:
    assert unnamed(EXCHANGED, [g1[8:10]]) == []


@pytest.mark.slow
def test_how_many_planted_faults_are_named_in_all_20_episodes_alone(g1: list[Recorded]) -> None:
    alone = [[episode] for episode in g1]

    assert unnamed(WRONG, alone) == []
    # a joint that hardly moved in one episode is not judged by it
    assert len(unnamed(TURNED, alone)) <= 0.02 * 20 * len(TURNED)
    assert len(unnamed(EXCHANGED, alone)) <= 0.03 * 20 * len(EXCHANGED)
    by_eight = [g1[:8], g1[8:16], g1]
    assert unnamed([*TURNED, *EXCHANGED], by_eight) == []


def test_fingers_in_another_order_are_named(g1: list[Recorded]) -> None:
    # as Unitree orders the right hand otherwise than the left: two pairs change places
    def harm(recorded: Recorded) -> Recorded:
        return exchanged(21, 22).harm(exchanged(20, 23).harm(recorded))

    found = suspicions([harm(each) for each in g1[:8]], BODY)

    assert {frozenset(each.joints) for each in found} == {
        frozenset({"right_hand_pinky", "right_hand_index"}),
        frozenset({"right_hand_ring", "right_hand_middle"}),
    }


def test_of_the_arm_that_hardly_moves_nothing_is_claimed(g1: list[Recorded]) -> None:
    still = [turned(n).harm(g1[5]) for n in range(2)]

    assert [suspicions([each], BODY) for each in still] == [[], []]
    assert "the 19 of them that move" in tried([g1[5]], BODY).summary()


@pytest.mark.slow
def test_exchanged_channels_of_all_325_pairs_in_all_20_episodes(g1: list[Recorded]) -> None:
    named = judged = 0
    for episode in g1:
        trial = tried([episode], BODY)
        moving = np.all(trial._moving(trial._command, 0.02), axis=0)
        for a, b in pairs(26):
            if moving[a] and moving[b]:
                fault = exchanged(a, b)
                judged += 1
                named += names_it(suspicions([fault.harm(episode)], BODY), fault, JOINTS)

    assert judged > 3000
    assert named >= 0.98 * judged


def planted(root: Path, target: Path, harm: Callable[[Recorded], Recorded]) -> Path:
    """Copy the folder without its videos, the fault in all of its tables."""
    shutil.copytree(root, target, ignore=shutil.ignore_patterns("*.mp4"))
    info = json.loads((target / "meta/info.json").read_text())
    for path, recorded in zip(sorted(target.rglob("episode_*.parquet")), read(root), strict=True):
        harmed, table = harm(recorded), pq.read_table(path)
        for name, values in (("observation.state", harmed.state), ("action", harmed.command)):
            column = pa.array(values.tolist(), pa.list_(pa.float32(), values.shape[1]))
            table = table.set_column(table.column_names.index(name), name, column)
        pq.write_table(table, path)
    for name in ("observation.state", "action"):
        info["features"][name] |= {"names": [list(harmed.names)], "shape": [len(harmed.names)]}
    (target / "meta/info.json").write_text(json.dumps(info))
    return target


@pytest.mark.parametrize(
    ("fault", "said", "remedy"),
    [
        (in_degrees(10), "right_elbow_joint goes from .* degrees", "unit: deg"),
        (in_counts(20, 0.001, 0), "right_hand_pinky goes from .* raw counts", "unit: counts"),
        (turned(8), "right_shoulder_roll_joint runs against its command", "sign: -1"),
        (exchanged(10, 13), "right_elbow_joint, right_wrist_yaw_joint seem exchanged", "joints"),
        (missing(12), "no channel for right_wrist_pitch_joint", "absent"),
        (doubled(9, 10), "right_elbow_joint and .* the very same numbers", "ignore"),
    ],
    ids=lambda value: value.cause if isinstance(value, Fault) else None,
)
def test_an_import_is_stopped_before_anything_is_published(
    fault: Fault, said: str, remedy: str, tmp_path: Path
) -> None:
    store = EpisodeStore.create(tmp_path / "store")
    source = planted(G1, tmp_path / "source", fault.harm)

    with pytest.raises(ImportFailed, match=said) as caught:
        import_source(source, store)

    assert remedy in caught.value.hint
    assert "--accept-mapping" in caught.value.hint
    assert store.episode_ids() == []
    assert store.sessions() == []


def test_an_accepted_mapping_is_written_down_and_found(tmp_path: Path) -> None:
    store = EpisodeStore.create(tmp_path / "store")
    source = planted(G1, tmp_path / "source", exchanged(10, 13).harm)

    report = import_source(source, store, accept_mapping=True)

    assert len(report.episodes) == 20
    accepted = [f.message for _, f in report.findings if f.message.startswith("accepted, though")]
    assert len(accepted) == 20
    assert "right_elbow_joint, right_wrist_yaw_joint seem exchanged" in accepted[0]
    provenance = store.manifest(report.episodes[7][1]).provenance
    assert any("mapping accepted, though right_elbow_joint" in t for t in provenance.assumed)
    assert len(set(store.results("findings")["episode"])) == 20


def test_what_was_judged_is_written_down(tmp_path: Path) -> None:
    store = EpisodeStore.create(tmp_path / "store")

    report = import_source(planted(G1, tmp_path / "source", lambda each: each), store)

    [said] = [text for text in report.assumed if text.startswith("mapping: ")]
    assert said == (
        "mapping: 26 joints were held against their ranges, "
        "the 22 of them that move also against their commands"
    )
