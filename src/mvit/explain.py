"""The command that shows what a model looks at, thin as those of ``cli``, which lists it."""

from pathlib import Path

from mvit.commandline import DONE


def explain(
    run: Path,
    video: Path,
    /,
    *,
    target: str | None = None,
    stage: int | None = None,
    block: int | None = None,
    head: int | None = None,
    out: Path | None = None,
) -> int:
    """Draw what a model looks at in a video: attention, class map, how far attention reaches, what it has learned.

    Args:
        run: run folder, or its model.safetensors
        video: a video or an image; the clip in its middle is looked at
        target: class that the class map is of; the predicted one if not given
        stage: stage whose tokens the class map is on, from 1 on; the last if not given
        block: also this block's attention, from 0 on as `mvit complexity` counts them; every head of it
        head: of that block this head alone, from 0 on
        out: folder for what is drawn; explained/VIDEO in the run folder if not given, VIDEO-2 for another of that name
    """
    from mvit.deploy.predictor import load
    from mvit.explanation.gallery import Wish, draw, folder_for

    predictor = load(run)
    folder = out or folder_for(video, run if run.is_dir() else run.parent)
    found = draw(predictor, video, folder, Wish(target=target, stage=stage, block=block, head=head))
    print(f"{video}: {found['predicted']} {found['score']:.1%}  ({found['protocol']})")
    print(f"Wrote {', '.join(found['files'])} in {folder}")
    return DONE
