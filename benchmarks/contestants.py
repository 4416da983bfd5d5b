"""The contestants: opdkit's own paths, the conventional implementation, and peer projects."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Contestant:
    """A measured implementation.

    factory: "module:function", imported in the measuring process only; the function takes a shape and an Effort
    and returns a Meter. package: what must be installed for it.
    """

    name: str
    title: str
    factory: str
    package: str | None = None


_OUR_HEADS, _OUR_UPDATES = "benchmarks.heads", "benchmarks.updates"
_OURS = (
    Contestant("opdkit_head", "opdkit, teacher top K, support given", f"{_OUR_HEADS}:support_given"),
    Contestant("opdkit_found_head", "opdkit, teacher top K, found too", f"{_OUR_HEADS}:support_found"),
    Contestant("opdkit_bucket_head", "opdkit, teacher top K + tail, found too", f"{_OUR_HEADS}:bucket"),
    Contestant("opdkit_sampled_head", "opdkit, sampled token", f"{_OUR_HEADS}:sampled"),
    Contestant("opdkit_full_head", "opdkit, full vocabulary", f"{_OUR_HEADS}:full"),
    Contestant("logits_head", "top K out of full logits (the usual shape)", "benchmarks.given:full_logits"),
    Contestant("opdkit_update", "opdkit, teacher top K", f"{_OUR_UPDATES}:topk_update"),
    Contestant("opdkit_tail_update", "opdkit, student top K + tail", f"{_OUR_UPDATES}:student_bucket_update"),
    Contestant("opdkit_sampled_update", "opdkit, sampled token", f"{_OUR_UPDATES}:sampled_update"),
    Contestant("opdkit_full_update", "opdkit, full vocabulary", f"{_OUR_UPDATES}:full_update"),
    Contestant("opdkit_step", "opdkit, teacher top K", f"{_OUR_UPDATES}:topk_step"),
    Contestant("body_update", "the transformers alone, lm_head left out", "benchmarks.plain:body_update"),
    Contestant("logits_update", "top K out of full logits (the usual shape)", "benchmarks.plain:logits_update"),
    Contestant("product", "a product of two large matrices", "benchmarks.products:large_product"),
    Contestant("update_products", "the update's products of matrices alone", "benchmarks.products:update_products"),
)
_HEADS = "benchmarks.peers.heads"
_TRAINERS = "benchmarks.peers.trainers"
_PEERS = (
    Contestant("trl_head", "TRL chunked divergence, full vocabulary", f"{_HEADS}:chunked", "trl"),
    Contestant("gkd_head", "TRL GKD loss, full vocabulary", f"{_HEADS}:gkd", "trl"),
    Contestant("liger_head", "Liger fused linear JSD, full vocabulary", f"{_HEADS}:liger", "liger_kernel"),
    Contestant("trl_update", "TRL DistillationTrainer, full vocabulary", f"{_TRAINERS}:distillation_update", "trl"),
    Contestant("gkd_update", "TRL GKD, full vocabulary", f"{_TRAINERS}:gkd_update", "trl"),
    Contestant("gold_update", "TRL GOLD, full vocabulary", f"{_TRAINERS}:gold_update", "trl"),
    Contestant("iw_opd_update", "TRL IW-OPD trainer, full vocabulary", f"{_TRAINERS}:iw_opd_update", "trl"),
    Contestant("iw_opd_topk", "TRL IW-OPD trainer, student top K + tail", f"{_TRAINERS}:iw_opd_topk_update", "trl"),
    Contestant("trl_step", "TRL DistillationTrainer, full vocabulary", f"{_TRAINERS}:distillation_step", "trl"),
    Contestant("gkd_step", "TRL GKD, full vocabulary", f"{_TRAINERS}:gkd_step", "trl"),
)
CONTESTANTS = {contestant.name: contestant for contestant in (*_OURS, *_PEERS)}
