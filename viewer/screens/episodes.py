"""All episodes of the store, filtered; a click opens one."""

import streamlit as st

from demos.errors import DemosError
from demos.server.listing import FACETS, MOST_ROWS, expression, facets, most_limiting, shown
from demos.server.session import served

state = served()
state.refresh()
store = state.store
total = len(store)

if not total:
    st.info("This store holds no episodes yet.", icon=":material/inbox:")
    st.markdown("Record some by simulation, or import what you have:")
    st.code(
        f"demos simulate {store.root} --episodes 24 --operators 3 --seed 0\n"
        f"demos import SOURCE {store.root}",
        language="sh",
    )
    st.stop()

known = facets(store)
places = st.columns([2, 2, 2, 2, 2, 4])
chosen = {
    name: place.multiselect(name.capitalize(), known[name], key=name, bind="query-params")
    for name, place in zip(FACETS, places, strict=False)
}
free = places[-1].text_input(
    "Filter expression",
    key="where",
    bind="query-params",
    placeholder="duration_s > 5 and factor.object == 'box'",
)

where = expression(chosen, free or "")
try:
    picked = store.select(where)
    table = shown(picked)
except DemosError as error:
    st.error(f"{error}", icon=":material/error:")
    st.caption(error.hint)
    st.stop()

if table.empty:
    st.info("No episode fits all of these filters.", icon=":material/filter_alt_off:")
    culprit = most_limiting(store, chosen, free or "")
    if culprit:
        st.markdown(f"Most episodes come back without the filter **{culprit}**.")
    if st.button("Clear all filters"):
        for name in (*FACETS, "where"):
            st.session_state.pop(name, None)
        st.query_params.clear()
        st.rerun()
    st.stop()

hours = sum(row[0] or 0 for row in picked.rows(["duration_s"])) / 3600
caption = f"**{len(picked):,}** of {total:,} episodes · {hours:.2f} h · click a row to open it"
if len(picked) > MOST_ROWS:
    caption += f" · the newest {MOST_ROWS:,} are listed"
if where:
    caption += f" · `store.select({where!r})`"
st.caption(caption)

event = st.dataframe(
    table,
    hide_index=True,
    height=min(720, 40 + 35 * len(table)),
    on_select="rerun",
    selection_mode="single-cell",
    key="table",
    column_config={
        "recorded_at": st.column_config.DatetimeColumn("recorded", format="YYYY-MM-DD HH:mm"),
        "duration_s": st.column_config.NumberColumn("duration", format="%.1f s"),
    },
)
st.session_state["queue"] = table["id"].tolist()
if event.selection.cells:
    opened = table["id"].iloc[event.selection.cells[0][0]]
    st.switch_page("screens/episode.py", query_params={"episode": opened})
