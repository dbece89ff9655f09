"""The gymnasium environments of learned mechanisms.

Importing this file registers them, so that both of these work::

    gymnasium.make("headway.sim.shop.gym:headway/BlockingShop-v0")

    import headway.sim.shop.gym
    gymnasium.make("headway/BlockingShop-v0")

It is cheap; what an environment plays is imported when it is made.
"""

from __future__ import annotations

from headway.core.errors import missing_extra

ENVIRONMENTS: dict[str, str] = {
    "JobShop": "headway.sim.shop.rl_cp_jssp_episodes:asking",
    "BlockingShop": "headway.sim.shop.blocking_instances:asking",
    "TransferRobot": "headway.sim.shop.glass_small:start",
    "VertiportFleet": "headway.sim.shop.uam_small:start",
    "SocScheduling": "headway.sim.shop.soc_episodes:asking",
}
"""By name, ``"module:function"`` of (seed) -> Asking: what begins an episode. One line per learned mechanism."""


def register() -> None:
    """Register all environments that are not registered yet.

    Raises
    ------
    MissingExtra
        When gymnasium is not installed.
    """
    try:
        from gymnasium.envs import registration
    except ImportError as error:
        raise missing_extra("gymnasium", "shop", "for environments") from error
    for name, start in ENVIRONMENTS.items():
        id_ = f"headway/{name}-v0"
        if id_ not in registration.registry:
            registration.register(id_, entry_point="headway.sim.shop.asking_env:AskingEnv", kwargs={"start": start})


register()
