"""The pyramid as the backbone of a detector's second half: boxes in, scores out. python examples/boxes.py [STEPS].

Clips of squares that move left, right, up or down; for the box around each square's path, which way it went. What finds
boxes (a region proposal network, tracks) goes on the same pyramid.
"""

import sys
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

import mvit
from mvit.model.mvit import MViT

SIZE, FRAMES, SQUARE, STRIDE = 64, 4, 12, 5  # pixels, but for the frames
WAYS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}


class BoxClassifier(nn.Module):
    """Logits for every box of every clip: the levels of the pyramid, averaged over time, an FPN, RoIAlign, an MLP."""

    def __init__(self, backbone: MViT, classes: int, width: int = 64, cells: int = 5) -> None:
        super().__init__()
        self.backbone = backbone
        with torch.inference_mode():
            levels = backbone.features(torch.zeros(1, 3, *backbone.config.clip))
        self.fpn = FeaturePyramidNetwork([level.shape[1] for level in levels], width)
        self.align = MultiScaleRoIAlign([str(stage) for stage in range(len(levels))], cells, sampling_ratio=2)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(width * cells * cells, 128), nn.GELU(), nn.Linear(128, classes)
        )

    def forward(self, clips: Tensor, boxes: list[Tensor]) -> Tensor:
        """(B, 3, T, H, W) and for each clip its boxes (K, 4), x1 y1 x2 y2 in pixels, to (all K, classes)."""
        levels = OrderedDict(
            (str(stage), level.mean(dim=2)) for stage, level in enumerate(self.backbone.features(clips))
        )
        height, width = clips.shape[3:]
        found: Tensor = self.align(self.fpn(levels), boxes, [(height, width)] * len(clips))
        return self.head(found)


def make(clips: int, draw: torch.Generator) -> tuple[Tensor, list[Tensor], Tensor]:
    """Clips of two squares each, the boxes around their paths, and which way they went."""
    pictures = 0.3 * torch.randn(clips, 3, FRAMES, SIZE, SIZE, generator=draw)
    ways = torch.randint(len(WAYS), (clips, 2), generator=draw)
    boxes = []
    reach = STRIDE * (FRAMES - 1)
    for clip in range(clips):
        found = []
        for half, way in enumerate(ways[clip].tolist()):  # one in each half, so that they do not meet
            dy, dx = list(WAYS.values())[way]
            top = int(torch.randint(SIZE - SQUARE - abs(dy) * reach + 1, (1,), generator=draw))
            room = SIZE // 2 - SQUARE - abs(dx) * reach
            left = half * SIZE // 2 + int(torch.randint(room + 1, (1,), generator=draw))
            for frame in range(FRAMES):
                step = STRIDE * (frame if dy + dx > 0 else FRAMES - 1 - frame)
                y, x = top + step * abs(dy), left + step * abs(dx)
                pictures[clip, :, frame, y : y + SQUARE, x : x + SQUARE] += 2
            found.append([left, top, left + SQUARE + abs(dx) * reach, top + SQUARE + abs(dy) * reach])
        boxes.append(torch.tensor(found, dtype=torch.float32))
    return pictures, boxes, ways.flatten()


def main(steps: int = 50, seed: int = 0) -> None:
    """Train for a few steps, and print how many boxes of new clips are right."""
    torch.manual_seed(seed)
    backbone = mvit.create_model("mvit_test_4x32", clip=(FRAMES, SIZE, SIZE))
    model = BoxClassifier(backbone, len(WAYS))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    draw = torch.Generator().manual_seed(seed)
    for step in range(1, steps + 1):
        clips, boxes, ways = make(16, draw)
        loss = nn.functional.cross_entropy(model(clips, boxes), ways)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 10 == 0:
            print(f"step {step}: loss {loss.item():.3f}")
    clips, boxes, ways = make(100, draw)
    with torch.inference_mode():
        right = int((model.eval()(clips, boxes).argmax(dim=1) == ways).sum())
    print(f"{right} of {len(ways)} boxes are right ({right / len(ways):.1%}); by guessing {1 / len(WAYS):.0%}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
