"""Packaging: what is installed, and what each optional part needs."""

import re
from pathlib import Path

from setuptools import setup

PACKAGES = [
    "embodied",
    "embodied.cli",
    "embodied.demo",
    "embodied.evaluation",
    "embodied.nn",
    "embodied.perception",
    "embodied.policies",
    "embodied.policies.chunk",
    "embodied.policies.chunk.backbones",
    "embodied.policies.chunk.sc_vla",
    "embodied.policies.mapping",
    "embodied.policies.vln",
    "embodied.policies.vln.dual_scale",
    "embodied.policies.vln.meta_explore",
    "embodied.serving",
    "embodied.simulators",
    "embodied.simulators.bullet",
    "embodied.simulators.habitat",
    "embodied.simulators.houses",
    "embodied.simulators.navmesh",
    "embodied.simulators.raycast",
    "embodied.simulators.scenes",
    "embodied.tasks",
    "embodied.tasks.datasets",
    "embodied.tasks.datasets.lerobot",
    "embodied.tasks.mobile_pick",
    "embodied.tasks.navigation",
    "embodied.tasks.tabletop",
    "embodied.tasks.vln",
    "embodied.tasks.vln.instructions",
    "embodied.training",
    "embodied.training.manipulation",
    "embodied.training.navigation",
    "embodied.training.vln",
    "embodied.viz",
    "maps",
    "maps.graph",
    "maps.grid",
    "maps.panorama",
    "maps.paths",
    "robots",
    "robots.emulators",
]

# Where the compiled packages have wheels: elsewhere, the requirement is left out instead of built,
# and what needs it says so (embodied/extras.py). Intel Macs have none of torch, numba.
LINUX_X86 = "sys_platform == 'linux' and platform_machine == 'x86_64'"
APPLE_SILICON = "sys_platform == 'darwin' and platform_machine == 'arm64'"
LINUX_X86_OR_MAC = f"{LINUX_X86} or sys_platform == 'darwin'"

REQUIREMENTS = [
    "av>=12",
    "charset-normalizer>=3",  # trimesh reads text meshes that are not UTF-8 with it
    f"embreex>=4.4; {LINUX_X86_OR_MAC}",  # elsewhere numba traces the rays
    "gymnasium>=1.1",
    "jinja2>=3.1",
    "lazy-loader>=0.4",
    "mcap>=1.2.1",
    "msgpack>=1.0.8",
    "numba>=0.60",
    "numpy>=2.0",
    "opencv-python-headless>=4.11",
    "pillow>=10",
    "prometheus-client>=0.20",
    "pycollada>=0.8",
    "pydantic>=2.7",
    "pyyaml>=6.0.1",
    f"ruckig>=0.19.4; {LINUX_X86} or {APPLE_SILICON}",  # elsewhere arms need one built by hand
    "scipy>=1.15",
    "shtab>=1.7",
    "tqdm>=4.66",
    "trimesh>=4.6",
    "websockets>=15",
]

EXTRAS = {
    # Learned policies: to train, evaluate or serve them.
    "train": ["safetensors>=0.8", "tensorboard>=2.16", "torch>=2.7", "transformers>=5.18"],
    "viz": ["rerun-sdk>=0.22"],  # embodied view
    "lora": ["peft>=0.21"],  # tuning a pretrained backbone
    "bench": ["open3d>=0.19"],  # the peer that `embodied bench sim` measures against
    # Basis-compressed HM3D textures
    "ktx": [f"opengl-basisu>=0.1.0a1; {LINUX_X86_OR_MAC}"],
    "habitat": ["habitat-lab>=0.3.320260507"],  # older ones fail on Python 3.11
    # Arms: one extra per driver. The ROS 2 wheels speak DDS and Zenoh; no ROS is needed.
    "bullet": [f"pybullet>=3.2.7; {LINUX_X86} and python_version < '3.12'"],
    "franka": [f"franky-control>=2.0; {LINUX_X86}", "franky-sim>=1.0.4"],
    "feetech": ["feetech-servo-sdk>=1.0"],
    "ur": [f"ur-rtde>=1.6.5; {LINUX_X86} and python_version < '3.13'"],
    "ros2": [
        f"cyclonedds>=11.0.1; ({LINUX_X86_OR_MAC}) and python_version < '3.14'",
        "eclipse-zenoh>=1.10.2",
    ],
    "record": ["mcap>=1.2.1"],
    "lerobot-export": ["pyarrow>=17"],
    "examples": ["stable-baselines3>=2.7"],
    "docs": ["mkdocstrings-python>=2", "zensical>=0.0.70"],  # make docs
    "dev": [
        "hypothesis>=6",
        "markdown-it-py>=3",
        "mypy>=1.11",
        "networkx>=3",
        "pre-commit>=4",
        "pytest>=8",
        "pytest-xdist>=3",
        "rosbags>=0.11.9",  # a second implementation of ROS 2's encoding
        "ruff>=0.6",
        "shapely>=2",
        "types-PyYAML",
        "types-tqdm",
    ],
}

REPOSITORY = "https://github.com/embodied-stack/embodied"


def read_description() -> str:
    """Return the README with absolute links: a page on an index has no files beside it."""
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    pattern = r"(?P<before>(?P<image>!?)\[[^]]*\]\()(?P<target>(?!https?:|mailto:|#)[^)\s]+)"

    def make_absolute(link: re.Match[str]) -> str:
        view = "raw" if link["image"] else "blob"
        return f"{link['before']}{REPOSITORY}/{view}/main/{link['target']}"

    return re.sub(pattern, make_absolute, text)


setup(
    name="embodied-stack",
    version="0.2.0",
    description="Embodied navigation and manipulation: simulate, train, evaluate, show and deploy",
    long_description=read_description(),
    long_description_content_type="text/markdown",
    author="Embodied contributors",
    url=REPOSITORY,
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    # Recipes live in configs/ for the reader and travel inside the package for the user.
    packages=[*PACKAGES, "embodied.recipes"],
    package_dir={"embodied.recipes": "configs"},
    package_data={
        "embodied": ["__init__.pyi", "py.typed", "viz/*.html"],
        "embodied.policies": ["__init__.pyi"],
        "embodied.recipes": ["*/*.yaml"],
        "maps": ["__init__.pyi", "py.typed"],
        "robots": ["__init__.pyi", "py.typed", "models/*.yaml"],
    },
    install_requires=REQUIREMENTS,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["embodied = embodied.cli.main:main"]},
    classifiers=[
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Operating System :: POSIX :: Linux",
        "Operating System :: MacOS",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
