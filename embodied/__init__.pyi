from .errors import EmbodiedError as EmbodiedError
from .evaluation.base import open_evaluator as open_evaluator
from .policies.base import Policy as Policy
from .policies.factory import make_policy as make_policy
from .rollout import Rollout as Rollout
from .rollout import evaluate_policy as evaluate_policy
from .rollout import play_episodes as play_episodes
from .simulators.base import AgentSpec as AgentSpec
from .simulators.base import CameraSpec as CameraSpec
from .simulators.embedded import Simulator as Simulator
from .simulators.houses import generate_house as generate_house
from .simulators.scenes import load_scene as load_scene
from .tasks.navigation.config import SceneSource as SceneSource
from .training.checkpoint import load_policy as load_policy
from .types import Pose as Pose

__version__: str
