"""The panels beside the player; each says in words why it is empty and what would fill it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demos.model import Episode

if TYPE_CHECKING:
    import pandas as pd

    from demos.server.session import Served

_HEIGHT = 600


def headline(episode: Episode) -> str:
    """Say in one line what the episode is."""
    manifest = episode.manifest
    words = [value for value in manifest.factors.values() if isinstance(value, str)]
    factors = [word.replace("_", " ") for word in words]
    parts = [f"**{manifest.task.replace('_', ' ')}**", *factors[:3], manifest.operator]
    return " · ".join(
        [*parts, f"{manifest.recorded_at:%Y-%m-%d %H:%M}", f"{episode.duration_s:.1f} s"]
    )


def findings(state: Served, episode: Episode) -> float | None:
    """Draw what the checks found; return the moment (s) of a finding that was clicked."""
    import streamlit as st

    table = state.results("findings", episode.id)
    if table.empty:
        st.caption("No findings. If the checks have not run yet:")
        st.code(f"demos check {state.store.root}", language="sh")
        return None
    rows = table[[name for name in ("severity", "message", "start_ns") if name in table]].copy()
    start_s = rows.pop("start_ns").astype(float) / 1e9
    rows["at"] = ["" if s != s else f"{s:.2f} s" for s in start_s]
    event = st.dataframe(
        rows[["severity", "at", "message"] if any(rows["at"]) else ["severity", "message"]],
        hide_index=True,
        height=min(_HEIGHT, 38 + 35 * len(rows)),
        on_select="rerun",
        selection_mode="single-cell",
        key=f"findings-{episode.id}",
        column_config={"at": st.column_config.TextColumn("at", width="small")},
    )
    picked = [row for row, _ in event.selection.cells]
    if not picked:
        st.caption("Click a finding to go there.")
        return None
    finding = table.iloc[picked[0]]
    st.markdown(f"{finding['message']}")
    if finding.get("hint"):
        st.caption(str(finding["hint"]))
    start = start_s.iloc[picked[0]]
    return None if start != start else float(start)


def scores(state: Served, episode: Episode) -> None:
    """Draw the metrics, with the reason where one is not assessable."""
    import streamlit as st

    table = state.results("scores", episode.id)
    if table.empty:
        st.caption("No scores. If the metrics have not run yet:")
        st.code(f"demos score {state.store.root}", language="sh")
        return
    rows = table[["metric", "value", "unit"]].copy()
    rows["better"] = table.get("better", "")
    st.dataframe(rows, hide_index=True, height=min(_HEIGHT, 38 + 35 * len(rows)))
    _reasons(table, "metric")


def gaps(state: Served, episode: Episode) -> None:
    """Draw how far a replay in simulation departs, beside the model's own floor."""
    import streamlit as st

    table = state.results("gaps", episode.id)
    if table.empty:
        st.caption("Not replayed in simulation yet:")
        st.code(f"demos replay {state.store.root} {episode.id}", language="sh")
        return
    columns = [name for name in ("quantity", "value", "floor", "unit") if name in table]
    st.dataframe(table[columns], hide_index=True, height=min(_HEIGHT, 38 + 35 * len(table)))
    _reasons(table, "quantity")


def facts(episode: Episode) -> None:
    """Draw what was known when the episode was recorded."""
    import streamlit as st

    manifest = episode.manifest
    said = {
        "instruction": manifest.instruction,
        "operator": manifest.operator,
        "embodiment": manifest.embodiment,
        "origin": manifest.origin,
        "intent": manifest.intent,
        "trial": manifest.trial_index,
        "minutes since break": manifest.minutes_since_break,
        "session": manifest.session,
        "episode": manifest.id,
        **{f"factor {name}": value for name, value in manifest.factors.items()},
    }
    st.table(_words({name: value for name, value in said.items() if value not in (None, "")}))
    rows = {
        name: f"{part.shape[0]:,} samples of {' by '.join(map(str, part.shape[1:]))}"
        for name, part in manifest.streams.items()
    }
    cameras = {name: f"{part.images:,} images" for name, part in manifest.cameras.items()}
    with st.container(height=300):
        st.table(_words({**cameras, **rows}))


def provenance(episode: Episode) -> None:
    """Draw where the episode came from and what was assumed on the way."""
    import streamlit as st

    source = episode.manifest.provenance
    said = {
        "made by": f"{source.tool} {source.tool_version}",
        "source": source.source,
        "format": source.source_format,
        "seed": source.seed,
        "recovered": "after a crash" if source.recovered else None,
    }
    st.table(_words({name: value for name, value in said.items() if value not in (None, "")}))
    for title, words in (("Assumed", source.assumed), ("Missing", source.missing)):
        if words:
            st.markdown(f"**{title}**\n" + "\n".join(f"- {word}" for word in words))


def _reasons(table: pd.DataFrame, name: str) -> None:
    import streamlit as st

    if "reason" in table:
        for _, row in table[table["value"].isna()].iterrows():
            st.caption(f"{row[name]}: not assessable, {row['reason']}")


def _words(said: dict[str, object]) -> dict[str, list[str]]:
    return {"": list(said), " ": [str(value) for value in said.values()]}
