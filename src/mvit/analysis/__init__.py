"""Why a model is as good as it is: what it costs, and a page about a run made from the files the run left."""
