"""Rotations against SciPy, which writes them independently of us."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from demos.formats.poses import from_euler_xyz, from_matrices, pose

ANGLES = np.concatenate(
    [
        np.random.default_rng(5).uniform(-np.pi, np.pi, (500, 3)),
        # where the middle angle leaves the other two undetermined, and half turns
        np.array(
            [[0.3, np.pi / 2, -1.0], [0.3, -np.pi / 2, 2.0], [np.pi, 0, 0], [0, np.pi, np.pi]]
        ),
        np.zeros((1, 3)),
    ]
)


def test_angles_about_fixed_axes_turn_as_scipy_says() -> None:
    ours = Rotation.from_quat(from_euler_xyz(ANGLES)).as_matrix()

    np.testing.assert_allclose(ours, Rotation.from_euler("xyz", ANGLES).as_matrix(), atol=1e-12)


def test_the_order_of_the_axes_matters() -> None:
    ours = Rotation.from_quat(from_euler_xyz(ANGLES[:5])).as_matrix()

    other = Rotation.from_euler("XYZ", ANGLES[:5]).as_matrix()
    assert np.abs(ours - other).max() > 0.1


def test_a_quarter_turn_about_z_is_the_quaternion_of_the_textbook() -> None:
    np.testing.assert_allclose(
        from_euler_xyz(np.array([[0.0, 0.0, np.pi / 2]])), [[0, 0, np.sqrt(0.5), np.sqrt(0.5)]]
    )


def test_matrices_become_the_quaternions_they_came_from() -> None:
    matrices = Rotation.from_euler("xyz", ANGLES).as_matrix()

    ours = from_matrices(matrices)

    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1.0)
    np.testing.assert_allclose(Rotation.from_quat(ours).as_matrix(), matrices, atol=1e-12)


@pytest.mark.parametrize("axis", range(3))
def test_half_turns_lose_no_component(axis: int) -> None:
    turn = np.full(3, -1.0)
    turn[axis] = 1.0

    assert abs(from_matrices(np.diag(turn)[None])[0, axis]) == pytest.approx(1.0)


def test_what_is_not_finite_is_no_pose() -> None:
    assert pose("base", (0.0, 0.0, np.nan), (0.0, 0.0, 0.0, 1.0)) is None
    assert pose("base", (0.0, 0.0, 1.0), (0.0, 0.0, 1.0)) is None


def test_angles_that_are_not_finite_make_no_quaternion_and_no_warning() -> None:
    made = from_euler_xyz(np.array([[np.inf, 0.0, 0.0], [np.nan, 0.0, 0.0], [0.0, 0.0, 0.0]]))

    assert np.isnan(made[:2]).any(axis=1).all()
    assert made[2].tolist() == [0.0, 0.0, 0.0, 1.0]
