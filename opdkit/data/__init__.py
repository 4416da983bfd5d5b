"""What passes between the stages: frozen dataclasses with their shapes.

Axes: B rollouts, P prompt tokens, T response tokens, K support ids, V vocabulary ids. Log-probs and losses are in nats,
and every log-prob and logit is divided by the temperature of the run. A stage imports the module it needs, since some
stages run without torch.
"""
