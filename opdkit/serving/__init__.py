"""`opdkit serve`: serves a model's scores over HTTP for `teacher=remote`."""
