"""The viewer's frame: which pages there are. Started by `demos view STORE`."""

from pathlib import Path

import streamlit as st

from demos.errors import DemosError

ICON = Path(__file__).with_name("icon.svg").read_text(encoding="utf-8")
st.set_page_config("demos", page_icon=ICON, layout="wide", initial_sidebar_state="collapsed")
st.html(
    "<style>.stMainBlockContainer{padding:4.2rem 1.2rem .5rem}.stVerticalBlock{gap:.5rem}</style>"
)

pages = [
    st.Page("screens/episodes.py", title="Episodes", icon=":material/view_list:", default=True),
    st.Page("screens/episode.py", title="Episode", icon=":material/play_circle:"),
    st.Page("screens/overview.py", title="Overview", icon=":material/monitoring:"),
]
page = st.navigation(pages, position="top")
try:
    page.run()
except DemosError as error:
    st.error(f"{error}", icon=":material/error:")
    st.caption(error.hint)
