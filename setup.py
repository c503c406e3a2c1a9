"""Packaging: what is installed, and what each optional part needs."""

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

REQUIREMENTS = [
    "av>=12",
    "charset-normalizer>=3",  # trimesh reads text meshes that are not UTF-8 with it
    "embreex>=4.4",
    "gymnasium>=1.0",
    "jinja2>=3.1",
    "mcap>=1.2",
    "msgpack>=1.0.8",
    "numba>=0.60",
    "numpy>=1.26",
    "opencv-python-headless>=4.9",
    "pillow>=10",
    "prometheus-client>=0.20",
    "pycollada>=0.8",
    "pydantic>=2.7",
    "pyyaml>=6",
    "ruckig>=0.14",
    "safetensors>=0.4",
    "scipy>=1.15",
    "tensorboard>=2.16",
    "torch>=2.4",
    "tqdm>=4.66",
    "transformers>=4.57",
    "trimesh>=4.6",
    "websockets>=15",
]

EXTRAS = {
    "viz": ["rerun-sdk>=0.22"],  # embodied view
    "lora": ["peft>=0.17"],  # tuning a pretrained backbone
    "bench": ["open3d>=0.19"],  # the peer that `embodied bench sim` measures against
    "ktx": ["opengl-basisu>=0.1.0a1"],  # Basis-compressed HM3D textures
    "habitat": ["habitat-lab>=0.3.320260507"],  # older ones fail on Python 3.11
    # Arms: one extra per driver. The ROS 2 wheels speak DDS and Zenoh; no ROS is needed.
    "bullet": ["pybullet>=3.2.6"],
    "franka": ["franky-control>=2.0", "franky-sim>=1.0.4"],
    "feetech": ["feetech-servo-sdk>=1.0"],
    "ur": ["ur-rtde>=1.6.5"],
    "ros2": ["cyclonedds>=11.0.1", "eclipse-zenoh>=1.10.2"],
    "record": ["mcap>=1.2"],
    "lerobot-export": ["pyarrow>=15"],
    "dev": [
        "hypothesis>=6",
        "mypy>=1.11",
        "networkx>=3",
        "pytest>=8",
        "pytest-xdist>=3",
        "rosbags>=0.11.9",  # a second implementation of ROS 2's encoding
        "ruff>=0.6",
        "shapely>=2",
        "types-PyYAML",
        "types-tqdm",
    ],
}

setup(
    name="embodied-stack",
    version="0.1.0",
    description="Embodied navigation and manipulation: simulate, train, evaluate, show and deploy",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="Embodied contributors",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    # Recipes live in configs/ for the reader and travel inside the package for the user.
    packages=[*PACKAGES, "embodied.recipes"],
    package_dir={"embodied.recipes": "configs"},
    package_data={
        "embodied": ["py.typed", "viz/*.html"],
        "embodied.recipes": ["*/*.yaml"],
        "maps": ["py.typed"],
        "robots": ["py.typed", "models/*.yaml"],
    },
    install_requires=REQUIREMENTS,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["embodied = embodied.cli.main:main"]},
    classifiers=[
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Operating System :: POSIX :: Linux",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
