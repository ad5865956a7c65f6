"""How well proposals agree with physics: contacts, phases, grasps, outcomes of simulated sessions.

Proposals see signals only; the simulator's labels are the truth they are held against. Peers: the
open rule-based segmenters score boundaries at 100 to 250 ms and have no touch.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CONTACT_MS, PHASE_MS = 20.0, 100.0


def run(*, quick: bool, seed: int) -> dict[str, Any]:
    """Simulate episodes without video, propose, and compare with what physics says.

    Three times: with all signals; `untracked`, without the pose of any object; `motion_only`, with
    nothing but joint positions at 30 Hz and who was in control, as in many public recordings.
    """
    from demos.proposals import propose
    from demos.simulate import simulate
    from demos.store import EpisodeStore

    pairs: dict[str, list[Any]] = {"all_signals": [], "untracked": [], "motion_only": []}
    with tempfile.TemporaryDirectory() as folder:
        store = EpisodeStore.create(Path(folder) / "lab")
        made = simulate(store, episodes=8 if quick else 60, operators=3, seed=seed, video=False)
        for manifest in made:
            episode = store.episode(manifest.id)
            truth = {label.of: label for label in episode.labels if label.role == "simulator"}
            for name, seen in _views(episode).items():
                pairs[name].append((truth, {label.of: label for label in propose(seen)}))
    found = {name: compared(own) for name, own in pairs.items()}
    return {"episodes": len(made), "seed": seed, **found}


def _views(episode: Any) -> dict[str, Any]:
    from dataclasses import replace

    from demos.model import Episode

    every = {name: episode.streams[name] for name in episode.streams}
    untracked = {n: s for n, s in every.items() if not n.startswith("pose.object.")}
    joints = every["joint_position"]
    kept = slice(None, None, max(round(500 / 30), 1))
    motion = {
        "joint_position": replace(
            joints,
            time_ns=joints.time_ns[kept],
            values=joints.values[kept],
            source_time_ns=None,
            arrival_ns=None,
        ),
        "control_authority": every["control_authority"],
    }
    views = {"all_signals": every, "untracked": untracked, "motion_only": motion}
    return {
        name: Episode(episode.manifest, streams, {}, root=episode.root)
        for name, streams in views.items()
    }


def compared(pairs: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    """Compare pairs of (truth, proposal), each a label per kind."""
    contacts, offsets, hands = (Matches(CONTACT_MS) for _ in range(3))
    unfelt = 0
    phases = Matches(PHASE_MS)
    outcomes: Counter[tuple[str, str]] = Counter()
    grasps: Counter[tuple[str, str]] = Counter()
    named: dict[str, Matches] = {}
    for truth, said in pairs:
        for finger in _fingers(truth["contacts"], said["contacts"]):
            own, theirs = (_touches(label["contacts"], finger) for label in (truth, said))
            onsets = [s.start_ns for s in own], [s.start_ns for s in theirs]
            if finger[1] == "palm":
                # no taxel sees a palm
                unfelt += len(own)
            elif not finger[1]:
                hands.add(*onsets)
            else:
                contacts.add(*onsets)
                offsets.add([s.end_ns for s in own], [s.end_ns for s in theirs])
        for tier in sorted({span.tier for span in truth["phases"].spans}):
            for phase in sorted({s.value for s in truth["phases"].spans}):
                starts = [_starts(label["phases"], tier, phase) for label in (truth, said)]
                phases.add(*starts)
                named.setdefault(phase, Matches(PHASE_MS)).add(*starts)
        outcomes[truth["outcome"].value, said["outcome"].value] += 1
        for pair in _paired(truth["grasps"].spans, said["grasps"].spans):
            grasps[pair] += 1
    return {
        "contact_onset_f1_20ms": contacts.f1,
        "contact_offset_f1_20ms": offsets.f1,
        "hand_contact_onset_f1_20ms": hands.f1,
        "contacts_of_palms_not_counted": unfelt,
        "contact_onset_median_ms": contacts.median_ms,
        "phase_boundary_f1_100ms": phases.f1,
        "phase_boundary_median_ms": phases.median_ms,
        "phase_boundary_f1_100ms_by_phase": {p: m.f1 for p, m in sorted(named.items())},
        "grasp_outcome_accuracy": _accuracy(grasps),
        "outcome_accuracy": _accuracy(outcomes),
        "grasp_confusion": _listed(grasps),
        "outcome_confusion": _listed(outcomes),
    }


class Matches:
    """Moments matched one to one, the nearest first, within a tolerance."""

    def __init__(self, tolerance_ms: float) -> None:
        self.tolerance_ns = tolerance_ms * 1e6
        self.true = self.said = self.hit = 0
        self.errors_ns: list[float] = []

    def add(self, true: Sequence[int], said: Sequence[int]) -> None:
        """Match the moments of one track."""
        self.true += len(true)
        self.said += len(said)
        near = sorted(
            (abs(a - b), i, j)
            for i, a in enumerate(true)
            for j, b in enumerate(said)
            if abs(a - b) <= self.tolerance_ns
        )
        taken: tuple[set[int], set[int]] = set(), set()
        for error, i, j in near:
            if i not in taken[0] and j not in taken[1]:
                taken[0].add(i)
                taken[1].add(j)
                self.hit += 1
                self.errors_ns.append(error)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return round(2 * self.hit / max(self.true + self.said, 1), 4)

    @property
    def median_ms(self) -> float | None:
        """Median distance of the matched moments."""
        from statistics import median

        return round(median(self.errors_ns) / 1e6, 1) if self.errors_ns else None


def _fingers(*labels: Any) -> list[tuple[str, str]]:
    return sorted({(s.tier, str(s.notes.get("finger", ""))) for x in labels for s in x.spans})


def _touches(label: Any, finger: tuple[str, str]) -> list[Any]:
    return [s for s in label.spans if (s.tier, str(s.notes.get("finger", ""))) == finger]


def _starts(label: Any, tier: str, phase: str) -> list[int]:
    # the first phase of a tier starts with the episode: no boundary that one could miss
    own = [s for s in label.spans if s.tier == tier]
    return [s.start_ns for s in own if s.value == phase and s.start_ns > own[0].start_ns]


def _paired(true: Sequence[Any], said: Sequence[Any]) -> list[tuple[str, str]]:
    """Pair attempts of one hand that overlap most; what has no partner is `none`."""
    left = list(said)
    pairs = []
    for span in true:
        over = [
            (min(span.end_ns, s.end_ns) - max(span.start_ns, s.start_ns), i)
            for i, s in enumerate(left)
            if s.tier == span.tier
        ]
        best = max(over, default=(0, -1))
        pairs.append((span.value, left.pop(best[1]).value if best[0] > 0 else "none"))
    return [*pairs, *(("none", span.value) for span in left)]


def _accuracy(counts: Counter[tuple[str, str]]) -> float:
    right = sum(n for (true, said), n in counts.items() if true == said)
    return round(right / max(sum(counts.values()), 1), 4)


def _listed(counts: Counter[tuple[str, str]]) -> dict[str, int]:
    return {f"{true} -> {said}": n for (true, said), n in sorted(counts.items())}
