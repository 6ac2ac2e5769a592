"""Evaluation in MuJoCo: problems, rollouts, success rules, controls, and a report that a sceptic can read."""
