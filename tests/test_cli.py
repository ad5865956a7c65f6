"""Every command as a user types it: output, JSON, exit codes, errors that help."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

import demos
from demos.cli import command, main
from tests.test_library import draft

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = demos.open(tmp_path_factory.mktemp("made") / "lab", container="zarr")
    for number in range(3):
        store.publish(draft(number))
    return store.root


@pytest.fixture
def lab(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template, tmp_path / "lab")
    return tmp_path / "lab"


def of_json(out: str) -> Any:
    assert out.count("\n") == 1, "one object on standard output, nothing else"
    return json.loads(out)


def test_init_ls_show_select_verify_reindex(run: Run, tmp_path: Path, lab: Path) -> None:
    assert run("init", tmp_path / "new")[0] == 0
    assert "no episodes yet" in run("ls", tmp_path / "new")[1]

    code, out, _ = run("ls", lab, "--where", "factor.object == 'box'", "--format", "json")
    assert code == 0
    assert of_json(out)["total"] == 1
    episode = of_json(out)["episodes"][0]["id"]

    code, out, _ = run("show", lab, episode[-8:])
    assert code == 0
    assert "joint_position" in out
    assert "rad" in out

    code, out, _ = run("select", lab, "all", "--split", "train=0.67,val=0.33", "--format", "json")
    assert (code, of_json(out)["selection"]) == (0, "all@1")

    assert run("verify", lab, "--deep")[0] == 0
    assert run("reindex", lab)[0] == 0


def test_damage_is_a_problem_with_exit_code_one(run: Run, lab: Path) -> None:
    next(lab.glob("episodes/*/*/signals.*")).unlink()

    code, out, _ = run("verify", lab, "--format", "json")

    assert code == 1
    assert "signals" in of_json(out)["problems"][0]["path"]


def test_check_score_propose_list(run: Run, lab: Path) -> None:
    code, out, _ = run("check", lab, "--format", "json")
    assert code in (0, 1)
    assert of_json(out)["report"]["done"] == 3

    code, out, _ = run("score", lab, "--metrics", "duration", "--format", "json")
    assert code == 0
    assert [score["value"] for score in of_json(out)["scores"]] == pytest.approx([0.98] * 3)

    assert run("label", "propose", lab)[0] == 0
    code, out, _ = run("label", "list", lab, "--format", "json")
    assert code == 0
    assert isinstance(of_json(out)["labels"], list)


def test_second_check_does_nothing(run: Run, lab: Path) -> None:
    run("check", lab)

    report = of_json(run("check", lab, "--format", "json")[1])["report"]

    assert (report["done"], report["reused"]) == (0, 3)


def test_coverage_lists_holes_and_what_to_record_next(run: Run, lab: Path) -> None:
    code, out, _ = run(
        "coverage", lab, "--plan", "pick_place_basic", "--next", "2", "--format", "json"
    )

    assert code == 1
    assert len(of_json(out)["holes"]) == 16
    assert len(of_json(out)["next"]) == 2


def test_upload_from_a_rigs_store_says_what_to_redo(run: Run, lab: Path, tmp_path: Path) -> None:
    run("init", tmp_path / "team")

    code, out, _ = run("upload", lab, "--to", tmp_path / "team", "--format", "json")

    told = of_json(out)
    assert code == (1 if told["redo"] else 0)
    assert len(told["episodes"]) == 3
    assert told["problems"] == []
    assert {each["verdict"] for each in told["episodes"]} <= {"redo", "check", "good"}


def test_withdraw_deletes_and_names_the_selections_that_are_shorter_now(
    run: Run, lab: Path
) -> None:
    store = demos.open(lab)
    session = store.manifest(store.episode_ids()[0]).session
    store.select("").freeze("paper")

    code, out, _ = run("withdraw", lab, session, "--yes", "--format", "json")

    assert code == 0
    assert len(of_json(out)["episodes"]) == 1
    assert of_json(out)["selections"] == {"paper@1": 1}
    assert of_json(run("ls", lab, "--format", "json")[1])["total"] == 2
    assert run("verify", lab, "--deep")[0] == 0


def test_withdraw_does_not_ask_a_program(run: Run, lab: Path) -> None:
    store = demos.open(lab)
    session = store.manifest(store.episode_ids()[0]).session

    code, out, _ = run("withdraw", lab, session, "--format", "json")

    assert code == 2
    assert "--yes" in of_json(out)["error"]
    assert len(store.episode_ids()) == 3


def test_upload_recovers_what_a_killed_session_left_on_the_rig(
    run: Run, lab: Path, tmp_path: Path
) -> None:
    recorder = demos.Recorder(lab, embodiment="g1_dex3", operator="op-1", task="pick_place")
    taken = recorder.episode()
    for i in range(100):
        taken.write("joint_position", i * 2_000_000, np.zeros(31, np.float32))
    with pytest.raises(KeyboardInterrupt), taken:
        raise KeyboardInterrupt
    run("init", tmp_path / "team")

    code, out, _ = run("upload", lab, "--to", tmp_path / "team", "--format", "json")

    told = of_json(out)
    assert code == 1
    assert [line.split(":")[0] for line in told["recordings"]] == [taken.id]
    assert taken.id in {each["id"] for each in told["episodes"]}


def test_an_unread_manifest_is_told_by_ls_and_reindex(run: Run, lab: Path) -> None:
    path = next((lab / "episodes").glob("*/*/manifest.json"))
    path.write_bytes(path.read_bytes()[:50])

    code, out, _ = run("reindex", lab)
    listed = run("ls", lab)[1]

    assert code == 1
    assert "not indexed" in out
    assert "NOT LISTED: 1 file" in listed


def test_no_arguments_show_help(run: Run) -> None:
    code, out, err = run()

    assert code == 2
    assert "quickstart" in out + err


def test_formats_and_benches_are_listed(run: Run) -> None:
    assert "lerobot" in of_json(run("formats", "--format", "json")[1])["importers"]
    assert "storage" in of_json(run("bench", "--format", "json")[1])["benchmarks"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["ls"], 2, "Missing argument"),
        (["frobnicate"], 2, "No such command"),
        (["simulat", "LAB"], 2, "simulate"),
        (["ls", "LAB", "--columns", ""], 2, "names no column"),
        (["ls", "LAB", "--where", "duration_s > 'a'"], 1, "text and a number"),
        (["simulate", "LAB", "--seed", "-1"], 2, "-1"),
        (["simulate", "LAB", "--size", "99999x99999"], 2, "1920"),
        (["label", "list", "LAB", "--of", "outcom"], 2, "outcome"),
        (["ls", "LAB", "--format", "xml"], 2, "xml"),
        (["ls", "nowhere"], 1, "does not exist"),
        (["ls", "LAB", "--where", "__import__('os')"], 1, "not allowed in a filter"),
        (["ls", "LAB", "--columns", "outcom"], 1, "no column called 'outcom'"),
        (["show", "LAB", "01ABC"], 1, "no episode"),
        (["select", "LAB", "x", "--split", "train"], 2, "NAME=SHARE"),
        (["coverage", "LAB", "--plan", "nope"], 1, "no plan called 'nope'"),
        (["score", "LAB", "--metrics", "nope"], 1, "nope"),
        (["import", "nowhere", "LAB"], 1, "does not exist"),
        (["simulate", "LAB", "--size", "big"], 2, "WIDTHxHEIGHT"),
        (["bench", "nope"], 1, "no benchmark"),
        (["withdraw", "LAB", "nope", "--yes"], 1, "no session"),
    ],
)
def test_wrong_use_says_what_and_what_to_do(
    run: Run, lab: Path, arguments: list[str], code: int, said: str
) -> None:
    got, _, err = run(*[str(lab) if word == "LAB" else word for word in arguments])

    assert got == code
    assert said in err
    assert "hint:" in err
    assert "Traceback" not in err


def test_error_in_json_is_one_object(run: Run) -> None:
    code, out, _ = run("ls", "nowhere", "--format", "json")

    assert code == 1
    assert set(of_json(out)) == {"error", "hint"}


@pytest.mark.parametrize("name", command.list_commands(click.Context(command)))
def test_every_command_explains_itself_and_takes_format(name: str) -> None:
    found = command.get_command(click.Context(command), name)

    assert found is not None
    assert (found.help or "").strip()
    leaves = found.commands.values() if isinstance(found, click.Group) else [found]
    for leaf in leaves:
        assert any("--format" in option.opts for option in leaf.params), leaf.name


def test_interrupt_leaves_a_message_and_exit_code_one(tmp_path: Path) -> None:
    work = subprocess.Popen(
        [sys.executable, "-m", "demos", "bench", "catalog"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        # a shell's background job, and so perhaps this test, ignores interrupts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with pytest.raises(subprocess.TimeoutExpired):
        work.wait(timeout=3)

    work.send_signal(signal.SIGINT)
    _, err = work.communicate(timeout=60)

    assert work.returncode == 1
    assert "interrupted" in err
    assert "Traceback" not in err
