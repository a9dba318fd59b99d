"""What the model sees: videos and images on disk, clips sampled from them, views, splits and batches."""

from mvit.data import directions, sampling, video, views

__all__ = ["directions", "sampling", "video", "views"]
