"""What the model sees: videos and images on disk, clips sampled from them, views, splits and batches."""

from mvit.data import sampling, video

__all__ = ["sampling", "video"]
