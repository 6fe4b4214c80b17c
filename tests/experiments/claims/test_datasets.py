"""Logs that claims on learning from data are made on: what their designs rest on holds."""

from collections import deque

import numpy as np
import pytest

from experiments.claims import logged, orthogonal_gradient
from experiments.claims.orthogonal_gradient import RING, mirrored


def steps_to_goal(layout):
    """Cells to walk to the goal from every free cell, by breadth-first search."""
    goal = logged.goal_of(layout)
    distance, queue = {goal: 0}, deque([goal])
    while queue:
        row, column = queue.popleft()
        for cell in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            inside = 0 <= cell[0] < len(layout) and 0 <= cell[1] < len(layout[0])
            if inside and layout[cell[0]][cell[1]] != "#" and cell not in distance:
                distance[cell] = distance[row, column] + 1
                queue.append(cell)
    return distance


@pytest.mark.slow
def test_what_half_a_ring_lacks_is_as_far_from_the_goal_as_what_it_has():
    source, states = orthogonal_gradient.half_ring(1_600)
    observation = np.asarray(source.dataset.observation)
    cells = lambda x: [(round(-float(y)), round(float(x))) for x, y in x[:, :2]]
    right, left = ({(row, column) for row in (1, 2, 3)} for column in (6, 0))
    assert not right & set(cells(observation)) and len(states) > 30
    assert set(cells(states)) <= left and set(cells(mirrored(states))) <= right
    distance = steps_to_goal(RING)
    assert [distance[cell] for cell in cells(states)] == [distance[cell] for cell in cells(mirrored(states))]
    # A mirror image is at the same place beyond the axis, and moves the other way along x.
    np.testing.assert_allclose(mirrored(np.array([[1.0, -2.0, 0.3, 0.1]])), [[5.0, -2.0, -0.3, 0.1]])
    np.testing.assert_allclose(mirrored(mirrored(states)), states, atol=1e-6)
    # What is left are whole episodes, and walks that arrive are among them.
    assert source.dataset.num_rows < 1_600 and float(np.max(source.dataset.episode_return)) == 1.0


def test_a_log_says_of_what_it_is():
    source = logged.pendulum({"weak": 0.6, "expert": 0.2}, num_steps=800)
    weak, expert = logged.PENDULUM["weak"], logged.PENDULUM["expert"]
    assert source.description == f"rlx:pendulum, 800 rows: 75 % {weak}, 25 % {expert}"
    # At a state of the weak swing-up actions are nearly one: no more than little noise around 40 % of the torque.
    action = np.asarray(source.dataset.action)[:600]
    assert np.abs(action).max() < 0.4 * 2 + 5 * 0.1 * 2
