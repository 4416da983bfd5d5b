"""Each named objective once more, over the whole vocabulary and token by token, as its paper has it."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from tests.objectives.worlds import K, World

Local = Callable[[Tensor, Tensor, int, "list[int]", "list[int]"], Tensor]


def ids_of(logits: Tensor) -> list[int]:
    """The K best ids."""
    return logits.topk(K).indices.tolist()


def kl(p: Tensor, q: Tensor) -> Tensor:
    return sum((p[v] * (p[v] / q[v]).log() for v in range(len(p))), start=p.new_zeros(()))


def inside(p: Tensor, support: list[int]) -> Tensor:
    """p renormalised inside the support."""
    part = p[support]
    return part / part.sum()


def renormalised(choose: Callable[[int, list[int], list[int]], list[int]]) -> Local:
    def loss(p: Tensor, q: Tensor, token: int, ours: list[int], theirs: list[int]) -> Tensor:
        support = choose(token, ours, theirs)
        return kl(inside(p, support), inside(q, support)) if support else p.sum() * 0

    return loss


def truncated(p: Tensor, q: Tensor, support: list[int]) -> Tensor:
    return sum((p[v] * (p[v] / q[v]).log() for v in support), start=p.new_zeros(()))


def tail(p: Tensor, q: Tensor, token: int, support: list[int], detached: bool) -> Tensor:
    if token in support:
        return p.sum() * 0
    ratio = (p[token] / q[token]).log()
    return p[token] / p[token].detach() * (ratio.detach() if detached else ratio)


def bucket(p: Tensor, q: Tensor, token: int, ours: list[int], theirs: list[int]) -> Tensor:
    rest_p, rest_q = 1 - p[theirs].sum(), 1 - q[theirs].sum()
    return truncated(p, q, theirs) + rest_p * (rest_p / rest_q).log()


def many_faces(p: Tensor, q: Tensor, token: int, ours: list[int], theirs: list[int]) -> Tensor:
    return sum((p[v] * (p[v] / q[v]).log().detach() for v in ours), start=p.new_zeros(()))


def mixed(share: float, first: Tensor, second: Tensor) -> Tensor:
    return share * first + (1 - share) * second


def eopd(p: Tensor, q: Tensor, token: int, ours: list[int], theirs: list[int]) -> Tensor:
    """Its entropy is that of the teacher inside its support; the option's threshold is half a nat."""
    ours_inside, theirs_inside = inside(p, theirs), inside(q, theirs)
    entropy = -sum(float(v) * math.log(float(v)) for v in theirs_inside)
    forward = kl(theirs_inside, ours_inside) if entropy > 0.5 else 0.0
    return kl(ours_inside, theirs_inside) + forward


LOCAL: dict[str, Local] = {
    "topk": renormalised(lambda y, ours, theirs: theirs),
    "topk_student": renormalised(lambda y, ours, theirs: ours),
    "topk_union": renormalised(lambda y, ours, theirs: sorted({*ours, *theirs})),
    "topk_intersection": renormalised(lambda y, ours, theirs: sorted({*ours} & {*theirs})),
    "topk_student_sampled": renormalised(lambda y, ours, theirs: sorted({*ours, y})),
    "topk_teacher_sampled": renormalised(lambda y, ours, theirs: sorted({*theirs, y})),
    "ema_pg_student": lambda p, q, y, ours, theirs: truncated(p, q, ours) + tail(p, q, y, ours, detached=True),
    "ema_pg_teacher": lambda p, q, y, ours, theirs: truncated(p, q, theirs) + tail(p, q, y, theirs, detached=True),
    "topk_sampled_tail": lambda p, q, y, ours, theirs: truncated(p, q, theirs) + tail(p, q, y, theirs, detached=False),
    "topk_unnormalised": lambda p, q, y, ours, theirs: truncated(p, q, theirs),
    "topk_bucket": bucket,
    "eopd": eopd,
    "many_faces": many_faces,
    "full_reverse_kl": lambda p, q, y, ours, theirs: kl(p, q),
    "gkd_forward": lambda p, q, y, ours, theirs: kl(q, p),
    "gkd_jsd": lambda p, q, y, ours, theirs: 0.5 * kl(q, mixed(0.5, q, p)) + 0.5 * kl(p, mixed(0.5, q, p)),
    "gold": lambda p, q, y, ours, theirs: 0.5 * kl(q, mixed(0.5, q, p)) + 0.5 * kl(p, mixed(0.5, q, p)),
    "uld": lambda p, q, y, ours, theirs: (p.sort().values - q.sort().values).abs().sum(),
    "distillm_forward": lambda p, q, y, ours, theirs: kl(q, mixed(0.1, q, p)),
    "distillm_reverse": lambda p, q, y, ours, theirs: kl(p, mixed(0.1, p, q)),
}


def local_loss(name: str, world: World) -> Tensor:
    """Sum over counted tokens of a member that looks at one prefix at a time."""
    total = world.student.new_zeros(())
    for row, place in world.mask.nonzero().tolist():
        p, q = world.student[row, place].softmax(-1), world.teacher[row, place].softmax(-1)
        ours, theirs = ids_of(world.old[row, place]), ids_of(world.teacher[row, place])
        total = total + LOCAL[name](p, q, int(world.tokens[row, place]), ours, theirs)
    return total


def loss_mask(world: World, row: int) -> list[tuple[Tensor, float]]:
    """(log p(y_t), with gradient; log p(y_t) - log q(y_t), a number) of a row's counted tokens, in order."""
    found: list[tuple[Tensor, float]] = []
    for place in world.mask[row].nonzero()[:, 0].tolist():
        token = int(world.tokens[row, place])
        log_p = world.student[row, place].log_softmax(-1)[token]
        before = world.old[row, place].log_softmax(-1)[token]
        found.append((log_p, float(before - world.teacher[row, place].log_softmax(-1)[token])))
    return found


def by_rows(weights: Callable[[list[float], int], list[float]]) -> Callable[[World], Tensor]:
    """-sum A_t log p(y_t), the A of a row from its log-ratios and the row's number."""

    def loss(world: World) -> Tensor:
        total = world.student.new_zeros(())
        for row in range(len(world.mask)):
            tokens = loss_mask(world, row)
            for (log_p, _), advantage in zip(tokens, weights([r for _, r in tokens], row), strict=True):
                total = total - advantage * log_p
        return total

    return loss


def iw_opd(ratios: list[float], row: int) -> list[float]:
    total = sum(abs(r) for r in ratios)
    return [-(1 + 0.5 * (1 - sum(abs(r) for r in ratios[:t]) / total)) * r for t, r in enumerate(ratios)]


def minillm(world: World) -> Tensor:
    """The exact step, and whitened, length-normalised sums of what comes later."""
    later = [
        [-sum(r for _, r in tokens[t + 1 :]) / max(1, len(tokens) - t - 1) for t in range(len(tokens))]
        for tokens in (loss_mask(world, row) for row in range(len(world.mask)))
    ]
    flat = [a for row in later for a in row]
    mean = sum(flat) / len(flat)
    deviation = math.sqrt(sum((a - mean) ** 2 for a in flat) / len(flat))
    policy = by_rows(lambda ratios, row: [(a - mean) / (deviation + 1e-8) for a in later[row]])
    return local_loss("full_reverse_kl", world) + policy(world)


def grpo(world: World) -> Tensor:
    """Rows 0 and 1 share a prompt, row 2 is alone."""
    first, second = world.reward[:2].tolist()
    mean, deviation = (first + second) / 2, abs(first - second) / 2
    advantage = [(first - mean) / (deviation + 1e-6), (second - mean) / (deviation + 1e-6), 0.0]
    return by_rows(lambda ratios, row: [advantage[row]] * len(ratios))(world)


Worth = Callable[[Tensor, Tensor, int], Tensor]


def by_tokens(worth: Worth, kept: Callable[[World, int], list[int]] | None = None) -> Callable[[World], Tensor]:
    """-sum A(p, q, y) log p(y), the A of a token from both models' probabilities, on the places that `kept` names."""

    def loss(world: World) -> Tensor:
        total = world.student.new_zeros(())
        for row in range(len(world.mask)):
            places = world.mask[row].nonzero()[:, 0].tolist()
            for place in places if kept is None else kept(world, row):
                p, q = world.old[row, place].softmax(-1), world.teacher[row, place].softmax(-1)
                token = int(world.tokens[row, place])
                advantage = worth(p, q, token).detach()
                total = total - advantage * world.student[row, place].log_softmax(-1)[token]
        return total

    return loss


def trust_region(world: World) -> Tensor:
    """The sampled log-ratio where q / p is at least a tenth, elsewhere the forward KL over the teacher's best ids."""
    total = world.student.new_zeros(())
    for row, place in world.mask.nonzero().tolist():
        p, q = world.student[row, place].softmax(-1), world.teacher[row, place].softmax(-1)
        y, before = int(world.tokens[row, place]), world.old[row, place].softmax(-1)
        if float(q[y] / before[y]) >= 0.1:
            total = total - float((q[y] / before[y]).log()) * p[y].log()
        else:
            total = total - sum(q[v] * p[v].log() for v in ids_of(world.teacher[row, place]))
    return total


def unsure(world: World, row: int) -> list[int]:
    """The fifth of a row's counted places, at least one, where the student's entropy is highest."""
    places = world.mask[row].nonzero()[:, 0].tolist()
    entropy = world.entropy[row].tolist()
    return sorted(places, key=lambda place: -entropy[place])[: max(1, math.ceil(0.2 * len(places)))]


def mopd(world: World) -> Tensor:
    """The sampled log-ratio, and beside it GRPO's advantage."""
    return POLICY["sampled"](world) + grpo(world)


def rlsd(world: World) -> Tensor:
    """GRPO's advantage at step 0, half of it weighed by (q / p)^sign(A) within 1 +- 0.2."""
    side = [1.0, -1.0, 0.0]  # rewards 1 and 0 share a prompt
    scale = 0.5 / (0.5 + 1e-6)

    def weighed(ratios: list[float], row: int) -> list[float]:
        weights = [min(max(math.exp(-side[row] * r), 0.8), 1.2) for r in ratios]
        return [side[row] * scale * (0.5 + 0.5 * w) for w in weights]

    return by_rows(weighed)(world)


POLICY: dict[str, Callable[[World], Tensor]] = {
    "sampled": by_rows(lambda ratios, row: [-r for r in ratios]),
    "thinking_machines": by_rows(lambda ratios, row: [-r for r in ratios]),
    "iw_opd": by_rows(iw_opd),
    "minillm": minillm,
    "grpo": grpo,
    "vopd": by_tokens(lambda p, q, y: (q[y] / p[y]).log() + kl(p, q)),
    "mopd": mopd,
    "power_opd": by_tokens(lambda p, q, y: q[y] ** 0.5 - p[y] ** 0.5),
    "power_opd_ratio": by_tokens(lambda p, q, y: ((q[y] / p[y]) ** 0.5 - 1) / 0.5),
    "tv_opd": by_tokens(lambda p, q, y: 0.5 * (q[y] - p[y]).sign()),
    "trust_region": trust_region,
    "reopold": by_tokens(lambda p, q, y: (q[y] / p[y]).log().clamp(min=math.log(0.1 / 0.9)), unsure),
    "rlsd": rlsd,
}
