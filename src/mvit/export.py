"""The command that writes a model for other programs, thin as those of ``cli``, which lists it."""

from pathlib import Path

from mvit.commandline import DONE


def export(
    run: Path,
    /,
    *,
    to: str = "onnx",
    int8: bool = False,
    batch: int | None = None,
    data: Path | None = None,
    out: Path | None = None,
) -> int:
    """Write a model for ONNX Runtime, OpenVINO, torch.export or transformers, looked at before it is there.

    Args:
        run: run folder, or its model.safetensors
        to: onnx, openvino (FILE.xml and FILE.bin), torch (FILE.pt2) or transformers (a folder; docs/share.md)
        int8: weights and activations in eight bits, as ONNX; ranges come from videos that the run learned from
        batch: clips that the file takes at once, always as many, as some runtimes want it; any number if not given
        data: labelled videos to look at it by, as for evaluate; those that the run held out if not given
        out: file to write, which must not exist; model.onnx, .xml, .pt2 or a
            folder transformers in the run folder if not given
    """
    from mvit.deploy.export import export as write

    print(f"Wrote {write(run, to, out, int8=int8, data=data, batch=batch)}")
    return DONE
