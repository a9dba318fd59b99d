"""The commands that give models to others and take theirs, thin as those of ``cli``, which lists them."""

from pathlib import Path
from shlex import quote

from mvit.commandline import DONE


def push(
    run: Path,
    repository: str,
    /,
    *,
    private: bool = False,
    revision: str | None = None,
    licence: str | None = None,
    with_names: bool = False,
    dry_run: bool = False,
) -> int:
    """Put a run on the Hugging Face Hub with a model card, for mvit pull and transformers; names of files stay here.

    Args:
        run: run folder of one of our models, or its model.safetensors
        repository: OWNER/NAME; it is made where there is none
        private: make it so that its owner alone sees it
        revision: branch to push to, made where there is none; main if not given
        licence: of the weights, such as apache-2.0, where none is inherited from what they started from
        with_names: send scores.csv and the split as well, which name every video
        dry_run: say what would be sent and where, with the card, and send nothing
    """
    from mvit.sharing import hugging_face

    parcel = hugging_face.parcel(
        run, repository, private=private, branch=revision, licence=licence, with_names=with_names
    )
    print(parcel)
    if dry_run:
        print(f"\n{parcel.card}\nNothing was sent.")
        return DONE
    print(f"Pushed: {hugging_face.push(parcel)}")
    return DONE


def pull(repository: str, /, *, out: Path | None = None, revision: str | None = None) -> int:
    """Fetch a model that was pushed: weights, description, result and card, verified, and no code.

    Args:
        repository: OWNER/NAME
        out: folder to make, as a run folder; runs/NAME if not given
        revision: commit, branch or tag; the newest commit of main if not given
    """
    from mvit.sharing import hugging_face

    folder = out or Path("runs") / repository.rpartition("/")[2]
    pulled = hugging_face.pull(repository, folder, revision)
    for name, digest in pulled.digests.items():
        print(f"{digest}  {name}")
    if pulled.left:
        print(f"left there: {', '.join(map(ascii, pulled.left))}")
    print(f"licence: {pulled.licence or 'none is stated: ask its owner before you use or give on the weights'}")
    print(f"Wrote {folder}: {repository} at commit {pulled.commit}. Next: mvit predict {quote(str(folder))} VIDEO")
    return DONE
