"""Train on a Ray cluster: `python examples/train_on_ray.py DATA RUN 2 train.epochs=10`; pip install 'mvit[scale]'.

Ray finds the machines and starts the processes; what they do is what `mvit train` does under torchrun. A process that
is lost has all of them started again, three times at most, and they go on from the last checkpoint. RUN must lie where
every machine of the cluster can write.
"""

import socket
import sys
from pathlib import Path

import ray.train
import torch
import torch.distributed as dist
from ray.train.collective import broadcast_from_rank_zero
from ray.train.torch import TorchConfig, TorchTrainer

from mvit.data.dataset import find
from mvit.distributed.group import joined
from mvit.distributed.launch import Place
from mvit.recipes.recipe import how_to_split, load
from mvit.training.defaults import settle
from mvit.training.loop import train
from mvit.training.run import Run


def learn(settings: dict) -> None:
    """What each process does: meet the others, and train."""
    mine = ray.train.get_context()
    host, port = broadcast_from_rank_zero((ray.util.get_node_ip_address(), _free_port()))
    if dist.is_initialized():
        dist.destroy_process_group()  # Ray's, which does not say who is missing
    place = Place(mine.get_world_rank(), mine.get_world_size(), mine.get_local_rank(), host, port)
    out, run_id = Path(settings["out"]), f"Ray {settings['name']}"
    with joined(place) as ranks:
        begun, keys = ranks.from_first(lambda: Run(out).is_of(run_id)), settings["overrides"]
        file = Run(out).recipe if begun else None
        listing = find(Path(settings["data"]), **how_to_split(file, keys))
        recipe = ranks.from_first(lambda: load(file, keys) if begun else settle(None, keys, listing))
        train(recipe, listing, out, resume=begun, ranks=ranks, run_id=run_id)


def main(data: str, out: str, processes: str, *overrides: str) -> None:
    """Train in so many processes, on a GPU each where the cluster has them; ``overrides`` are section.key=value."""
    folder = Path(out).resolve()
    name = f"{folder.name}-{torch.seed()}"  # of this run alone, so that no other one goes on with it
    settings = {"data": str(Path(data).resolve()), "out": str(folder), "name": name, "overrides": overrides}
    failures = ray.train.FailureConfig(max_failures=3)
    trainer = TorchTrainer(
        learn,
        train_loop_config=settings,
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ray.train.ScalingConfig(num_workers=int(processes), use_gpu=torch.cuda.is_available()),
        run_config=ray.train.RunConfig(name=name, storage_path=str(folder.parent / "ray"), failure_config=failures),
    )
    trainer.fit()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("", 0))
        return free.getsockname()[1]


if __name__ == "__main__":
    main(*sys.argv[1:])
