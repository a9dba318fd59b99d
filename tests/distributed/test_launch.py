"""What torchrun and srun say to the processes that they start."""

import pytest

from mvit.data.resources import available_cores, available_memory
from mvit.distributed.launch import Place, first_host, place, restarted, run_id

TORCHRUN = {
    "RANK": "3",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "4",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "node1",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_MAX_RESTARTS": "0",
    "TORCHELASTIC_RESTART_COUNT": "0",
}
SRUN = {
    "SLURM_JOB_ID": "1234",
    "SLURM_STEP_ID": "2",
    "SLURM_PROCID": "5",
    "SLURM_STEP_NUM_TASKS": "6",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "2",
    "SLURM_STEP_NODELIST": "gpu[07-08,11]",
    "SLURM_STEP_TASKS_PER_NODE": "2(x3)",
}


def test_nobody_started_others():
    assert place({}) == Place()
    assert place({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}) == Place(), "a batch script"
    assert place(TORCHRUN | {"WORLD_SIZE": "1", "RANK": "0"}) == Place()


def test_torchrun():
    assert place(TORCHRUN) == Place(3, 4, 1, "node1", 29500, served=True)
    by_hand = {name: TORCHRUN[name] for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")}
    assert place(by_hand) == Place(3, 4, 0, "node1", 29500, served=False)


def test_srun():
    found = place(SRUN)
    assert (found.rank, found.ranks, found.local_rank, found.host, found.served) == (5, 6, 1, "gpu07", False)
    assert found.port == place(SRUN | {"SLURM_PROCID": "0"}).port
    assert found.port != place(SRUN | {"SLURM_STEP_ID": "3"}).port, "two steps of one job"
    assert 1024 < found.port < 65536
    chosen = place(SRUN | {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "4000"})
    assert (chosen.host, chosen.port) == ("10.0.0.1", 4000)
    assert place(SRUN | TORCHRUN).rank == 3, "torchrun under srun"


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node1", "node1"),
        ("node[03-05,9],gpu1", "node03"),
        ("a-b[1,2]-ib", "a-b1-ib"),
        ("one,two[1-2]", "one"),
        ("", ""),
    ],
)
def test_first_host(nodes: str, first: str):
    assert first_host(nodes) == first


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"WORLD_SIZE": "many"}, "WORLD_SIZE is 'many'"),
        ({"RANK": "4"}, "rank 4 of 4"),
        ({"MASTER_ADDR": ""}, "rank 3 of 4 does not know where rank 0 is"),
        ({"MASTER_PORT": ""}, "MASTER_PORT is not set"),
        ({"TORCHELASTIC_MAX_RESTARTS": "2"}, "add --standalone on one machine, or --rdzv-id=NAME"),
    ],
)
def test_what_is_wrong_is_said(wrong: dict[str, str], said: str):
    with pytest.raises(ValueError, match=said):
        place(TORCHRUN | wrong)


def test_a_run_is_known_again():
    assert run_id({}) is None
    assert run_id(TORCHRUN) is None
    assert run_id(TORCHRUN | {"TORCHELASTIC_RUN_ID": "a7"}) == "torchrun a7"
    assert run_id(SRUN) == "Slurm job 1234"
    assert place(TORCHRUN | {"TORCHELASTIC_RUN_ID": "a7", "TORCHELASTIC_MAX_RESTARTS": "2"}).rank == 3
    assert not restarted(TORCHRUN)
    assert restarted(TORCHRUN | {"TORCHELASTIC_RESTART_COUNT": "1"})
    assert restarted({"SLURM_RESTART_COUNT": "1"})


def test_processes_on_one_machine_share_it():
    alone = available_cores({})
    assert available_cores({"LOCAL_WORLD_SIZE": "2"}) == max(1, alone // 2)
    assert available_cores({"LOCAL_WORLD_SIZE": "1000"}) == 1
    assert available_cores(SRUN) == alone, "Slurm binds each task itself"
    memory = available_memory({})
    if memory is None:
        return
    assert available_memory({"LOCAL_WORLD_SIZE": "4"}) == pytest.approx(memory / 4, rel=0.2)
    assert available_memory(SRUN) == pytest.approx(memory / 2, rel=0.2)
    assert available_memory(SRUN | {"SLURM_STEP_TASKS_PER_NODE": "1,1,8"}) == pytest.approx(memory / 8, rel=0.2)
