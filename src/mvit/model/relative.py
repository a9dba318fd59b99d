"""Relative positions, decomposed: a table for each axis, whose rows the queries multiply (MViTv2, section 4.1).

The paper's equation 3 divides their term by sqrt(d), as it does the product of queries and keys; the official code adds
it undivided, and the released weights need the code.

B batch, h heads, d channels a head; Q query and K key tokens, the class token included where there is one.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mvit.model.config import WIDTH_MULTIPLE, Triple


class RelativePositions(nn.Module):
    """Tables of (2 max(queries, keys) - 1, d) for time, height and width; other grids get them interpolated linearly.

    The logit of query i and key j gains q_i . (R_time + R_height + R_width), each R the row for the distance between
    the two along its axis. The class token has no place: what it asks, and what is asked of it, gains nothing. A model
    for images has no table for time.
    """

    def __init__(self, grid_q: Triple, grid_k: Triple, head_width: int) -> None:
        super().__init__()
        time, height, width = (2 * max(q, k) - 1 for q, k in zip(grid_q, grid_k, strict=True))
        self.time = nn.Parameter(torch.zeros(time, head_width)) if time > 1 else None
        self.height = nn.Parameter(torch.zeros(height, head_width))
        self.width = nn.Parameter(torch.zeros(width, head_width))

    def bias(self, q: Tensor, keys: int, grid_q: Triple, grid_k: Triple) -> Tensor:
        """What the logits gain, written out: (B, h, Q, d) -> (B, h, Q, K) for a number K of keys."""
        time, height, width = self._products(q, grid_q, grid_k)
        body = (time[..., :, None, None] + height[..., None, :, None] + width[..., None, None, :]).flatten(-3)
        return F.pad(body, (keys - body.shape[-1], 0, q.shape[2] - body.shape[2], 0))

    def extend(self, q: Tensor, k: Tensor, grid_q: Triple, grid_k: Triple, scale: float) -> tuple[Tensor, Tensor]:
        """Queries and keys with E channels more, so that ``scale`` times their product has gained the bias.

        Along an axis the distance depends on the key by one coordinate only, so the bias is a dot product as well: of
        the query's products with the rows for every coordinate, and the key's coordinates, one-hot. Fused attention
        takes that without a (Q, K) bias. (B, h, Q, d), (B, h, K, d) -> (B, h, Q, d + E), (B, h, K, d + E). Zeros make
        d + E a multiple of 8, as flash attention on a GPU wants it: torch would add them by copies.
        """
        products = torch.cat(self._products(q, grid_q, grid_k), dim=-1) / scale
        zeros = -(q.shape[-1] + products.shape[-1]) % WIDTH_MULTIPLE
        products = F.pad(products, (0, zeros, q.shape[2] - products.shape[2], 0))
        places = torch.cartesian_prod(*(torch.arange(n, device=k.device) for n in grid_k))  # (T*H*W, 3)
        one_hot = torch.cat([F.one_hot(places[:, axis], n) for axis, n in enumerate(grid_k)], dim=-1).to(k.dtype)
        one_hot = F.pad(one_hot, (0, zeros, k.shape[2] - one_hot.shape[0], 0)).expand(*k.shape[:2], -1, -1)
        return torch.cat([q, products], dim=-1), torch.cat([k, one_hot], dim=-1)

    def _products(self, q: Tensor, grid_q: Triple, grid_k: Triple) -> tuple[Tensor, Tensor, Tensor]:
        """Every query of the grid by the rows for each coordinate of keys, an axis at a time: (B, h, T*H*W, k)."""
        t, h, w = grid_q
        body = q[:, :, q.shape[2] - t * h * w :].unflatten(2, grid_q)
        rows = [
            None if table is None else _rows(table, n_q, n_k).to(q.dtype)  # (q, k, d)
            for table, n_q, n_k in zip((self.time, self.height, self.width), grid_q, grid_k, strict=True)
        ]
        time = body.new_zeros(*body.shape[:-1], grid_k[0])
        if rows[0] is not None:
            time = torch.einsum("bntyxd,tkd->bntyxk", body, rows[0])
        height = torch.einsum("bntyxd,ykd->bntyxk", body, rows[1])
        width = torch.einsum("bntyxd,xkd->bntyxk", body, rows[2])
        return time.flatten(2, 4), height.flatten(2, 4), width.flatten(2, 4)


def resized_rows(table: Tensor, length: int) -> Tensor:
    """A table (rows, d) interpolated linearly to another number of rows, as the official code does."""
    if table.shape[0] == length:
        return table
    full = table.to(torch.promote_types(table.dtype, torch.float32))
    return F.interpolate(full.T.unsqueeze(0), length, mode="linear")[0].T.to(table.dtype)


def _rows(table: Tensor, queries: int, keys: int) -> Tensor:
    """The row of a table for every query and key along its axis, by the official code's distances: (q, k, d)."""
    length = 2 * max(queries, keys) - 1
    table = resized_rows(table, length)
    step_q, step_k = max(keys / queries, 1.0), max(queries / keys, 1.0)
    of_query, of_key = (torch.arange(n, device=table.device) for n in (queries, keys))
    distance = of_query[:, None] * step_q - of_key[None, :] * step_k + (keys - 1) * step_k
    return table[distance.long()]
