"""Absolute positions: tables for one grid, interpolated for others (paper section 3.3).

T, H, W is the grid of tokens, N their number with the class token; D the channels after the stem.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mvit.model.config import Positions, Triple


class PositionEmbedding(nn.Module):
    """Adds learned positions to a sequence of tokens, its class token first if it has one.

    "separate": a table over space, one over time, and the class token's own; "space": without time; "joint": one over
    everything; "none": nothing. Another grid than the tables' gets them interpolated: time linearly, space bicubically.
    """

    def __init__(self, kind: Positions, grid: Triple, width: int, *, class_token: bool) -> None:
        super().__init__()
        self.kind = kind
        self.grid = grid
        self.class_tokens = int(class_token)
        t, h, w = grid
        if kind == "joint":
            self.joint = nn.Parameter(torch.zeros(1, self.class_tokens + t * h * w, width))
        if kind in ("space", "separate"):
            self.spatial = nn.Parameter(torch.zeros(1, h * w, width))
        if kind in ("space", "separate") and class_token:
            self.class_position = nn.Parameter(torch.zeros(1, 1, width))
        if kind == "separate":
            self.temporal = nn.Parameter(torch.zeros(1, t, width))
        self._cache: dict[tuple[object, ...], Tensor] = {}

    def forward(self, x: Tensor, grid: Triple) -> Tensor:  # (B, N, D) -> the same
        if self.kind == "none":
            return x
        return x + self.table(grid).to(x.dtype)

    def table(self, grid: Triple) -> Tensor:
        """Positions for a grid: (1, N, D); kept between calls while no gradient is wanted."""
        parameters = list(self.parameters())
        if not parameters or torch.compiler.is_compiling() or any(table.is_inference() for table in parameters):
            # Replicas of nn.DataParallel have no parameters and share the cache, a graph holds none, and inference
            # tensors do not say when they change.
            return self._table(grid)
        if torch.is_grad_enabled():
            self._cache.clear()  # weights are about to move, and a fused optimiser does not count that in _version
            return self._table(grid)
        key = (grid, *((table.data_ptr(), table._version, table.dtype) for table in parameters))
        if key not in self._cache:
            if len(self._cache) >= 8 or any(old[1:] != key[1:] for old in self._cache):
                self._cache.clear()
            self._cache[key] = self._table(grid)
        return self._cache[key]

    def _table(self, grid: Triple) -> Tensor:
        if self.kind == "joint":
            own, body = self.joint[:, : self.class_tokens], self.joint[:, self.class_tokens :]
            return torch.cat([own, resized(body, self.grid, grid)], dim=1)
        spatial = resized(self.spatial, (1, *self.grid[1:]), (1, *grid[1:]))  # (1, H*W, D)
        if self.kind == "separate":
            temporal = resized(self.temporal, (self.grid[0], 1, 1), (grid[0], 1, 1))  # (1, T, D)
            body = (temporal.unsqueeze(2) + spatial.unsqueeze(1)).flatten(1, 2)
        else:
            body = spatial.repeat(1, grid[0], 1)
        # Times 1, for a gradient of its own: of a batch of one clip, autograd gives those of the class token and of its
        # position the same memory, and each would be added to, and clipped, twice.
        return torch.cat([self.class_position * 1, body], dim=1) if self.class_tokens else body

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_cache": {}}


def resized(table: Tensor, old: Triple, new: Triple) -> Tensor:
    """A table (1, T*H*W, D) of grid ``old`` interpolated to grid ``new``: bicubic in space, linear in time."""
    if old == new:
        return table
    kind, width = table.dtype, table.shape[-1]
    table = table.reshape(*old, width).to(torch.promote_types(kind, torch.float32))
    if old[1:] != new[1:]:
        frames = table.permute(0, 3, 1, 2)  # (T, D, H, W)
        table = F.interpolate(frames, new[1:], mode="bicubic", align_corners=False).permute(0, 2, 3, 1)
    if old[0] != new[0]:
        lines = table.permute(1, 2, 3, 0).flatten(0, 1)  # (H*W, D, T)
        table = F.interpolate(lines, new[0], mode="linear", align_corners=False)
        table = table.unflatten(0, new[1:]).permute(3, 0, 1, 2)
    return table.reshape(1, -1, width).to(kind)
