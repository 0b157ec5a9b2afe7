"""LaWAM, a latent world action model, as a ROS 2 control stack: from a checkpoint to a smoothly moving arm."""

__version__ = "0.1.0"
