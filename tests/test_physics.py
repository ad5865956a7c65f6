"""MuJoCo at our door: models, scenes, forward kinematics, the GL probe."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from demos import physics
from demos.embodiment import load
from demos.errors import ReplayFailed, UnknownName
from demos.physics import Prop

pytest.importorskip("mujoco", reason="the extra 'sim' is not installed")

TWO_LINKS = """
<mujoco>
  <compiler angle="radian"/>
  <worldbody>
    <body name="upper">
      <joint name="shoulder" axis="0 0 1"/>
      <geom size="0.1" mass="1"/>
      <body name="lower" pos="0.3 0 0">
        <joint name="elbow" axis="0 0 1"/>
        <geom size="0.1" mass="1"/>
        <site name="tip" pos="0.2 0 0"/>
      </body>
    </body>
  </worldbody>
</mujoco>
"""


@pytest.fixture
def two_links(tmp_path: Path) -> Path:
    path = tmp_path / "arm.xml"
    path.write_text(TWO_LINKS)
    return path


def test_forward_kinematics_of_two_links_is_trigonometry(two_links: Path) -> None:
    model = physics.load_model(two_links)
    shoulder, elbow = 0.7, -1.1

    # columns in another order than the model's joints
    poses = physics.forward_kinematics(model, ["elbow", "shoulder"], [[elbow, shoulder]], ["tip"])

    turned = shoulder + elbow
    expected = [
        0.3 * np.cos(shoulder) + 0.2 * np.cos(turned),
        0.3 * np.sin(shoulder) + 0.2 * np.sin(turned),
        0.0,
    ]
    assert poses.shape == (1, 1, 7)
    np.testing.assert_allclose(poses[0, 0, :3], expected, atol=1e-12)
    half = [0.0, 0.0, np.sin(turned / 2), np.cos(turned / 2)]
    np.testing.assert_allclose(poses[0, 0, 3:] * np.sign(poses[0, 0, 6]), half, atol=1e-12)


def test_forward_kinematics_finds_bodies_by_name_too(two_links: Path) -> None:
    model = physics.load_model(two_links)

    poses = physics.forward_kinematics(model, ["shoulder"], [[np.pi / 2], [0.0]], ["lower"])

    np.testing.assert_allclose(poses[:, 0, :3], [[0, 0.3, 0], [0.3, 0, 0]], atol=1e-12)


@pytest.mark.parametrize(("joints", "sites"), [(["sholder"], ["tip"]), (["shoulder"], ["tipp"])])
def test_a_misspelt_name_is_refused_with_what_there_is(
    two_links: Path, joints: list[str], sites: list[str]
) -> None:
    model = physics.load_model(two_links)

    with pytest.raises(UnknownName) as refused:
        physics.forward_kinematics(model, joints, [[0.0]], sites)

    assert refused.value.hint


def test_a_broken_model_is_refused_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.xml"
    path.write_text("<mujoco><worldbody><geom type='banana'/></worldbody></mujoco>")

    with pytest.raises(ReplayFailed, match=r"broken\.xml") as refused:
        physics.load_model(path)

    assert refused.value.hint


def test_props_stand_where_they_are_put_and_weigh_what_they_are_told() -> None:
    prop = Prop(
        "thing", "box", (0.3, -0.1, 0.9), (0.0, 0.0, 0.6, 0.8), mass_kg=0.321, friction=0.45
    )

    model = physics.load_model("g1_dex3/scene.xml", [prop])

    start = int(model.joint("thing_free").qposadr[0])
    np.testing.assert_allclose(model.qpos0[start : start + 3], prop.position_m)
    np.testing.assert_allclose(model.qpos0[start + 3 : start + 7], [0.8, 0.0, 0.0, 0.6])
    assert float(model.body("thing").mass[0]) == pytest.approx(0.321)
    assert float(model.geom("box").friction[0]) == pytest.approx(0.45)
    assert model.sensor("left_thumb_pad_on_thing").dim[0] == 4


def test_a_prop_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(UnknownName, match="teapot"):
        physics.load_model("g1_dex3/scene.xml", [Prop("x", "teapot", (0.0, 0.0, 1.0))])


def test_a_resting_object_presses_on_the_table_with_its_weight() -> None:
    mujoco = physics.engine()
    model = physics.load_model(
        "g1_dex3/scene.xml", [Prop("b", "box", (0.4, 0.2, 0.8601), mass_kg=0.4)]
    )
    data = mujoco.MjData(model)

    mujoco.mj_step(model, data, 800)

    found, *force = data.sensor("b_on_world").data
    assert found > 0
    np.testing.assert_allclose(force, [0.0, 0.0, -0.4 * 9.81], atol=0.01)


def test_the_embodiment_says_what_the_model_says() -> None:
    embodiment = load("g1_dex3")
    model = physics.load_model(embodiment.model)

    names = [model.joint(number).name for number in range(model.njnt)]
    driven = [model.joint(int(model.actuator_trnid[a, 0])).name for a in range(model.nu)]

    assert [joint.name for joint in embodiment.joints] == names == driven
    assert embodiment.streams["joint_position"].channels == tuple(names)
    for number, joint in enumerate(embodiment.joints):
        assert (joint.lower, joint.upper) == pytest.approx(tuple(model.jnt_range[number]))
        assert joint.max_effort == pytest.approx(model.jnt_actfrcrange[number, 1])
        kp, kd = embodiment.gains[joint.group]
        assert kp == pytest.approx(model.actuator_gainprm[number, 0])
        assert kd == pytest.approx(-model.actuator_biasprm[number, 2])
    for effector in embodiment.effectors:
        assert model.site(effector.site).id >= 0
        assert set(effector.arm) | set(effector.hand) < set(names)
        assert {effector.wrench, effector.tactile} < set(embodiment.streams)


def test_the_camera_is_where_the_embodiment_says() -> None:
    embodiment = load("g1_dex3")
    model = physics.load_model(embodiment.model)
    camera = model.camera("egocentric")
    declared = embodiment.cameras["egocentric"]

    assert declared.pose is not None
    assert declared.intrinsics is not None
    np.testing.assert_allclose(declared.pose.position_m, camera.pos)
    # MuJoCo's cameras look along -z with y up; the optical convention looks along +z with y down
    w, x, y, z = camera.quat
    turned = np.array([w * 1.0, x, y, z])
    optical = np.array([-turned[1], turned[0], turned[3], -turned[2]])[[1, 2, 3, 0]]
    given = np.array(declared.pose.quaternion_xyzw)
    assert abs(float(optical @ given)) == pytest.approx(1.0, abs=1e-6)
    focal = declared.height / 2 / np.tan(np.radians(float(camera.fovy[0])) / 2)
    assert declared.intrinsics.fy == pytest.approx(focal, rel=1e-4)


def test_the_left_hand_is_the_mirror_image_of_the_right() -> None:
    embodiment = load("g1_dex3")
    model = physics.load_model(embodiment.model)
    mirrored = np.array([1.0, -1.0, 1.0])

    sites = [
        f"{side}_{end}"
        for end in ("grasp", "thumb_tip", "index_tip", "wrist_ft")
        for side in ("left", "right")
    ]
    poses = physics.forward_kinematics(model, [], np.zeros((1, 0)), sites)[0, :, :3]

    # the factory's own frames of both arms differ by 10 micrometres
    np.testing.assert_allclose(poses[0::2] * mirrored, poses[1::2], atol=2e-5)


def _in_a_fresh_process(code: str, **environment: str) -> str:
    clean = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "DEMOS_GL_BACKEND")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    return done.stdout.strip()


def test_physics_runs_although_the_asked_for_gl_library_does_not_exist() -> None:
    code = "from demos import physics; m = physics.load_model('g1_dex3/body.xml'); print(m.nu)"

    assert _in_a_fresh_process(code, MUJOCO_GL="nonsense") == "31"


def test_child_processes_inherit_what_the_probe_found() -> None:
    code = (
        "import os; from demos import physics; physics.gl_backend();"
        "print(os.environ['DEMOS_GL_BACKEND'])"
    )

    assert _in_a_fresh_process(code, DEMOS_GL_BACKEND="none") == "none"
    assert _in_a_fresh_process(code) in ("egl", "osmesa", "none")


@pytest.mark.skipif(physics.gl_backend() is None, reason="no GL library: nothing is rendered")
def test_rendering_works_although_somebody_imported_mujoco_first() -> None:
    code = (
        "import mujoco; from demos import physics; engine = physics.engine();"
        "model = physics.load_model('g1_dex3/scene.xml'); data = engine.MjData(model);"
        "engine.mj_forward(model, data); eye = engine.Renderer(model, 8, 8);"
        "eye.update_scene(data); print(eye.render().shape); eye.close()"
    )

    assert _in_a_fresh_process(code) == "(8, 8, 3)"
