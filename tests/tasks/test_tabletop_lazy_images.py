"""Images drawn where they are looked at are those that would have been drawn everywhere."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pybullet", reason="pybullet is not installed (extra 'bullet')")

from embodied.errors import SensorError  # noqa: E402
from embodied.tasks.tabletop import TabletopConfig, TabletopVectorEnv, make_expert  # noqa: E402
from embodied.tasks.tabletop.views import CAMERAS  # noqa: E402

TASK = TabletopConfig(task="pick", observation="rgb", level=3, width=24, height=20, max_steps=4)


def test_lazy_images_are_the_same() -> None:
    eager, lazy = (TabletopVectorEnv(3, TASK, lazy=lazy) for lazy in (False, True))
    expert = make_expert("pick")
    seen, glanced = (env.reset(seed=5)[0] for env in (eager, lazy))
    for step in range(10):
        rows = np.array([[0, 2], [1, 1]][step % 2])
        for name in CAMERAS:
            assert glanced[name].shape == seen[name].shape
            assert np.array_equal(glanced[name][rows], seen[name][rows])
        if step % 3 == 0:
            assert np.array_equal(np.asarray(glanced["wrist"]), seen["wrist"])
        actions = expert.act(eager)
        assert np.array_equal(actions, expert.act(lazy))
        (seen, *_, infos), (glanced, *_, lazy_infos) = (env.step(actions) for env in (eager, lazy))
        if "final_obs" in infos:
            for row in range(3):
                last, lazy_last = (i["final_obs"][row] for i in (infos, lazy_infos))
                for name in (*CAMERAS, "state"):
                    assert np.array_equal(last[name], lazy_last[name])
    eager.close()
    lazy.close()


def test_only_what_is_looked_at_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    env = TabletopVectorEnv(3, TASK, lazy=True)
    seen, _ = env.reset(seed=0)
    drawn: list[list[int]] = []
    images = env.batch.views.render_images

    def noted(*args, rows, **kwargs):
        drawn.append(list(rows))
        return images(*args, rows=rows, **kwargs)

    monkeypatch.setattr(env.batch.views, "render_images", noted)
    assert not drawn
    first = seen["front"][[1]]
    assert np.array_equal(first, seen["front"][[1]])
    assert seen["wrist"][np.array([False, True, True])].shape == (2, 20, 24, 3)
    assert drawn == [[1], [2]]  # both cameras at once, nothing twice
    env.close()


def test_a_moment_that_is_over_cannot_be_looked_at() -> None:
    env = TabletopVectorEnv(2, TASK, lazy=True)
    seen, _ = env.reset(seed=0)
    kept = seen["front"][[0]].copy()
    env.step(np.zeros((2, 7), np.float32))
    assert np.array_equal(seen["front"][[0]], kept)
    with pytest.raises(SensorError, match=r"environments \[1\] were not looked at"):
        seen["front"][[1]]
    env.close()
