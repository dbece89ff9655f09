"""What steps cost: hardware, models, and prices in time, memory, power and money."""

from headway.sim.serving.cost.configs import model_facts, shipped_models
from headway.sim.serving.cost.efficiency import Efficiency, EngineFit
from headway.sim.serving.cost.hardware import Accelerator, accelerator_facts, accelerators
from headway.sim.serving.cost.model import ModelFacts
from headway.sim.serving.cost.power import PowerFit, PowerModel
from headway.sim.serving.cost.replica import Replica, replica
from headway.sim.serving.cost.roofline import RooflinePrice

__all__ = [
    "Accelerator",
    "Efficiency",
    "EngineFit",
    "ModelFacts",
    "PowerFit",
    "PowerModel",
    "Replica",
    "RooflinePrice",
    "accelerator_facts",
    "accelerators",
    "model_facts",
    "replica",
    "shipped_models",
]
