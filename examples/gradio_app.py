"""A page by Gradio: `python examples/gradio_app.py RUN`; pip install mvit gradio.

For where Gradio is wanted, as in a Space of the Hugging Face hub. It runs a file app.py: there, write the folder of the
run in place of sys.argv[1]. `mvit serve RUN` has a page of its own, with a timeline, and decodes in processes apart.
"""

import sys
from functools import partial

import gradio

from mvit.data.limits import STRANGERS
from mvit.data.video import Video
from mvit.data.views import views_in
from mvit.deploy.described import Described
from mvit.deploy.opened import load
from mvit.evaluation.scoring import by_name, score_views


def scores(model: Described, file: str | None) -> dict[str, float]:
    """Scores of a video by class name, as evaluation has them; anyone may send it, so little is opened."""
    if file is None:
        raise gradio.Error("choose a video first", print_exception=False)
    clips, crops = model.views
    try:
        with Video(file, limits=STRANGERS) as video:
            views = views_in(video, model.preprocessing, clips=clips, crops=crops)
        return by_name(score_views(model.logits, views, model.scoring), model.classes)
    except ValueError as error:
        raise gradio.Error(str(error).replace(file, "the video"), print_exception=False) from None


def main(run: str) -> gradio.Interface:
    """The page of a run folder or an exported file."""
    model = load(run)
    return gradio.Interface(
        partial(scores, model),
        gradio.Video(label="Video"),
        gradio.Label(num_top_classes=5, label="Label"),
        title="What a video shows",
        description=f"{len(model.classes)} classes; {model.protocol}",
        api_name="predict",
        flagging_mode="never",
        analytics_enabled=False,
    )


if __name__ == "__main__":
    main(sys.argv[1]).launch(max_file_size="100mb")
