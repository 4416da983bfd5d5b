"""`opdkit serve`: a model's scores over HTTP, for `teacher=remote`."""
