"""The store at a glance: hours, outcomes per operator, coverage and its holes."""

import streamlit as st

from demos.server.session import served

state = served()
state.refresh()
table = state.store.episodes
if table.empty:
    st.info("This store holds no episodes yet.", icon=":material/inbox:")
    st.stop()
st.write("Overview")
