"""Which frames of a video each test view looks at: python examples/frames_of_views.py VIDEO [FRAMES SPACING CLIPS]."""

import sys

from mvit.data import sampling, video


def main(path: str, frames: int = 16, spacing: float = 4.0, clips: int = 5) -> None:
    """Print the frame numbers of every clip, and the share of them that repeat the last frame."""
    facts = video.probe(path)
    how = sampling.ClipSampling(frames=frames, spacing=spacing)
    print(f"{facts.frames} frames at {facts.fps:g} a second, {facts.width}x{facts.height}")
    for clip, indices in enumerate(sampling.test_indices(facts.frames, facts.fps, how, clips), start=1):
        print(f"clip {clip}: {' '.join(map(str, indices))}")
    print(f"{sampling.padding_share(facts.frames, facts.fps, how):.0%} of a clip's frames are padding")


if __name__ == "__main__":
    path, *numbers = sys.argv[1:]
    main(path, *map(int, numbers))
