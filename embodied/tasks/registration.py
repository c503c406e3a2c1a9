"""Names of the environments. Light: nothing is imported until an environment is made."""

from __future__ import annotations

from typing import Any

from gymnasium.envs.registration import register, registry

ENVIRONMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "embodied/PointNav-v0": ("PointNavEnv", {"task": "pointnav"}),
    "embodied/ObjectNav-v0": ("ObjectNavEnv", {"task": "objectnav"}),
    "embodied/ImageNav-v0": ("ImageNavEnv", {"task": "imagenav", "success_distance": 1.0}),
    "embodied/Explore-v0": ("ExploreEnv", {"task": "explore"}),
}
"""id -> (class, settings that differ from `NavigationConfig`'s defaults)."""


VLN_ENVIRONMENTS: dict[str, tuple[str, str]] = {
    "embodied/VLN-R2R-v0": ("R2REnv", "r2r"),
    "embodied/VLN-REVERIE-v0": ("ReverieEnv", "reverie"),
    "embodied/VLN-SOON-v0": ("SoonEnv", "soon"),
    "embodied/VLN-Houses-v0": ("HousesEnv", "houses"),
}
"""id -> (class, data set) of language-guided navigation; settings are `VLNConfig`'s."""


CONTINUOUS = "embodied/VLNCE-Houses-v0"
"""Language-guided navigation with low-level actions; settings are `ContinuousTaskConfig`'s."""

ARMS = {"Panda": "panda", "Kuka": "kuka", "XArm6": "xarm6", "SO101": "so101"}
TABLETOP = {
    "Reach": "reach", "Push": "push", "Pick": "pick", "Stack": "stack", "PlaceTray": "place_tray",
    "PegInsert": "peg_insert", "Drawer": "drawer", "PlugIn": "plug_in",
}  # fmt: skip
"""`embodied/<arm><task>-v0` for each arm and task; settings are `TabletopConfig`'s."""

MOBILE = "embodied/MobilePick-v0"
"""A base with an arm in a house; settings are `MobilePickConfig`'s."""


def register_environments() -> None:
    """Register every environment with Gymnasium; a second call changes nothing."""
    for name, (entry, settings) in ENVIRONMENTS.items():
        if name not in registry:
            register(
                id=name,
                entry_point=f"embodied.tasks.navigation.envs:{entry}",
                vector_entry_point="embodied.tasks.navigation.vector:NavigationVectorEnv",
                kwargs=settings,
            )
    for name, (entry, dataset) in VLN_ENVIRONMENTS.items():
        if name not in registry:
            register(
                id=name,
                entry_point=f"embodied.tasks.vln.env:{entry}",
                vector_entry_point="embodied.tasks.vln.vector:VLNVectorEnv",
                kwargs={"dataset": dataset},
            )
    if CONTINUOUS not in registry:
        register(
            id=CONTINUOUS,
            entry_point="embodied.tasks.vln.continuous_env:ContinuousEnv",
            vector_entry_point="embodied.tasks.vln.continuous_env:ContinuousVectorEnv",
        )
    for arm, robot in ARMS.items():
        for title, task in TABLETOP.items():
            if (name := f"embodied/{arm}{title}-v0") not in registry:
                register(
                    id=name,
                    entry_point="embodied.tasks.tabletop.env:TabletopEnv",
                    vector_entry_point="embodied.tasks.tabletop.vector:TabletopVectorEnv",
                    kwargs={"robot": robot, "task": task},
                )
    if MOBILE not in registry:
        register(id=MOBILE, entry_point="embodied.tasks.mobile_pick.env:MobilePickEnv")
