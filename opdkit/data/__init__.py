"""The data passed between stages, as frozen dataclasses with documented shapes.

Axes: B rollouts, P prompt tokens, T response tokens, K support ids, V vocabulary ids. Log-probs and losses are in nats,
and all logits are divided by the temperature of the run. Import the modules directly, since some stages run without
torch.
"""
