"""One episode: the player, and beside it what checks, metrics, replay and people say."""

import streamlit as st

from demos.errors import DemosError
from demos.server.component import player_component
from demos.server.panels import facts, findings, gaps, headline, provenance, scores
from demos.server.player import Place, moment, payload, task_of
from demos.server.reviews import read_review, save
from demos.server.session import served

state = served()
store = state.store
state.refresh()
asked = st.query_params.get("episode", "")
if not asked:
    newest = store.catalog.ids()
    if not newest:
        st.info("This store holds no episodes yet.", icon=":material/inbox:")
        st.stop()
    asked = newest[0]
try:
    episode = store[asked]
except DemosError as error:
    st.error(f"{error}", icon=":material/error:")
    st.caption(error.hint)
    st.page_link("screens/episodes.py", label="Open the list of episodes")
    st.stop()

queue = st.session_state.get("queue") or store.catalog.ids()
number = queue.index(episode.id) if episode.id in queue else 0


def on_save() -> None:
    sent = st.session_state["player"].save
    try:
        review = read_review(sent, st.session_state.get("reviewer") or "")
        task = task_of(episode)
        with state.turn:
            save(store, store[sent["episode"]], review, task.guideline if task else "")
        problem = ""
    except DemosError as error:
        problem = f"{error}. {error.hint}"
    st.session_state["answer"] = {"request": sent["request"], "problem": problem}


def on_go() -> None:
    at = (number + int(st.session_state["player"].go)) % len(queue)
    # one by one: a name that a widget is bound to must not be set here
    st.query_params["episode"] = queue[at]
    st.query_params.pop("t", None)


wide, narrow = st.columns([3.35, 1], gap="medium")
with narrow:
    reviewer = st.text_input(
        "Reviewer",
        key="reviewer",
        bind="query-params",
        placeholder="Reviewer: your name, to save labels",
        label_visibility="collapsed",
    )
    st.markdown(headline(episode), help=episode.id)
    tabs = st.tabs(["Findings", "Scores", "Gaps", "Facts", "Source"])
    with tabs[0]:
        start_s = findings(state, episode)
    for tab, panel in zip(tabs[1:3], (scores, gaps), strict=True):
        with tab:
            panel(state, episode)
    for tab, words in zip(tabs[3:], (facts, provenance), strict=True):
        with tab:
            words(episode)

with wide:
    texts = player_component()
    player = st.components.v2.component("demos_player", html=texts.html, css=texts.css, js=texts.js)
    data = payload(
        episode,
        state.signer,
        reviewer=(reviewer or "").strip(),
        place=Place(number + 1, len(queue), queue[(number + 1) % len(queue)]),
        at_s=start_s if start_s is not None else moment(st.query_params.get("t", "")),
        verdict=state.verdict(episode.id),
    )
    data["answer"] = st.session_state.get("answer")
    player(key="player", data=data, on_save_change=on_save, on_go_change=on_go)
