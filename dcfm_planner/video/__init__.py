"""Films of rollouts: what was planned drawn into the scene in which it is executed.

:mod:`~dcfm_planner.video.recording` executes and remembers, :mod:`~dcfm_planner.video.stage` draws one picture,
:mod:`~dcfm_planner.video.film` makes a rollout's pictures with captions, :mod:`~dcfm_planner.video.files` writes them.
"""
