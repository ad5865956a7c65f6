"""The store at a glance: hours, outcomes per operator, coverage, its holes, what to record next."""

import streamlit as st

from demos.coverage import proposed
from demos.server.overview import covered, hours_by, outcomes_by, plans
from demos.server.session import served

COLOURS = {
    "success": "#24764f",
    "partial": "#c98a00",
    "failure": "#b5322b",
    "aborted": "#5d6670",
    "not decided": "#aab2bb",
}

state = served()
state.refresh()
table = state.store.episodes
if table.empty:
    st.info("This store holds no episodes yet.", icon=":material/inbox:")
    st.stop()

decided = table[table["outcome"].isin(["success", "partial", "failure", "aborted"])]
tiles = st.columns(5)
tiles[0].metric("Episodes", f"{len(table):,}")
tiles[1].metric("Hours", f"{table['duration_s'].sum() / 3600:.2f}")
tiles[2].metric("Operators", table["operator"].nunique())
tiles[3].metric(
    "Success",
    f"{(decided['outcome'] == 'success').mean():.0%}" if len(decided) else "none decided",
    help=f"of {len(decided):,} episodes whose outcome is decided",
)
tiles[4].metric("To redo", int((table["verdict"] == "redo").sum()))

left, right = st.columns([1, 1], gap="large")
with left:
    st.markdown("**Outcomes per operator**")
    outcomes = outcomes_by(table, "operator")
    st.bar_chart(
        outcomes,
        horizontal=True,
        stack=True,
        color=[COLOURS[name] for name in outcomes.columns],
        height=130 + 36 * len(outcomes),
        x_label="",
        y_label="episodes",
    )
    st.markdown("**By task and by operator**")
    for column in ("task", "operator"):
        st.dataframe(
            hours_by(table, column),
            hide_index=True,
            column_config={
                "hours": st.column_config.NumberColumn(format="%.2f h"),
                "success": st.column_config.ProgressColumn(format="percent", max_value=1),
            },
        )
with right:
    known = plans(state.store)
    if not known:
        st.markdown("**Coverage**")
        st.caption("No coverage plan names a task of this store.")
        st.code(f"demos coverage {state.store.root} --plan PLAN.yaml", language="sh")
        st.stop()
    name = st.selectbox("Coverage of the plan", list(known), key="plan", bind="query-params")
    plan = known[name]
    found = covered(plan, table)
    cells = len(found.possible)
    st.progress(found.share, f"{found.filled} of {cells} cells are filled by successful episodes")
    st.dataframe(found.table(), hide_index=True, height=330)
    ahead = proposed(found, 5)
    if ahead:
        st.markdown("**Record next**")
        st.dataframe(ahead, hide_index=True)
    else:
        st.success("Every cell of this plan is filled.", icon=":material/done_all:")
    for factor, value, count in found.unknown[:5]:
        st.caption(f"{count} episodes count nowhere: {factor} is {value}, which the plan lacks")
