"""Naive twin of prune/masks: lists, loops and fractions, one rule of docs/pruning.md at a time. No torch."""

from fractions import Fraction


def matrix_of(weight):
    """R1: a nested list [S][C][kh][kw] as rows in hwc order."""
    rows = []
    for channels in weight:
        row = []
        for y in range(len(channels[0])):
            for x in range(len(channels[0][0])):
                for c in range(len(channels)):
                    row.append(channels[c][y][x])
        rows.append(row)
    return rows


def nm_mask(scores, n, m):
    """R6: take the best of what is left of each group, n times."""
    mask = [[False] * len(row) for row in scores]
    for s, row in enumerate(scores):
        for start in range(0, len(row), m):
            left = list(range(start, min(start + m, len(row))))
            for _ in range(min(n, len(left))):
                best = left[0]
                for k in left:
                    if row[k] > row[best]:
                        best = k
                mask[s][best] = True
                left.remove(best)
    return mask


def blocks_of(shape, block):
    """The elements of each block: {(i, j): [(s, k), ...]}."""
    found = {}
    for s in range(shape[0]):
        for k in range(shape[1]):
            found.setdefault((s // block, k // block), []).append((s, k))
    return found


def grid(shape, block):
    """Block rows and block columns."""
    places = blocks_of(shape, block)
    return max(i for i, _ in places) + 1, max(j for _, j in places) + 1


def block_scores(scores, mask, block):
    """R7, exact."""
    shape = len(scores), len(scores[0])
    R, C = grid(shape, block)
    sums = [[Fraction(0)] * C for _ in range(R)]
    for (i, j), elements in blocks_of(shape, block).items():
        for s, k in elements:
            if mask[s][k]:
                sums[i][j] += Fraction(scores[s][k])
    return sums


def rank_blocks(sums, pruned):
    """R8."""
    ranking = []
    for i in range(len(sums)):
        ranking.append(sorted(range(len(sums[i])), key=lambda j: (not pruned[i][j], sums[i][j], j)))
    return ranking


def has_blocks(shape, block):
    """R3."""
    return block is not None and shape[1] > block


def kept_by(mask, pruned, block):
    """Both halves, weight by weight."""
    kept = [list(row) for row in mask]
    if pruned is not None:
        for (i, j), elements in blocks_of((len(mask), len(mask[0])), block).items():
            for s, k in elements:
                kept[s][k] = mask[s][k] and not pruned[i][j]
    return kept


def count(rows):
    return sum(sum(row) for row in rows)


def highest_sparsity(shapes, n, m, block):
    """R12: one full block left in each block row of every layer with blocks."""
    kept = total = 0
    for S, K in shapes:
        total += S * K
        width = block if has_blocks((S, K), block) else K
        kept += S * count(nm_mask([[0] * width], n, m))
    return 1 - Fraction(kept, total)


def generate(layers, n, m, block, target, normalise):
    """R6 to R11: [(scores, pruned or None)] to [(mask, pruned or None)], taking one rank column at a time."""
    masks = [nm_mask(scores, n, m) for scores, _ in layers]
    pruned = [None if before is None else [list(row) for row in before] for _, before in layers]
    total = sum(len(scores) * len(scores[0]) for scores, _ in layers)
    candidates = []
    for position, (scores, before) in enumerate(layers):
        if before is None:
            continue
        sums = block_scores(scores, masks[position], block)
        ranking = rank_blocks(sums, before)
        for o in range(sum(before[0]), len(sums[0]) - 1):
            c = sum(sums[i][ranking[i][o]] for i in range(len(sums)))
            if normalise == "weights":
                c /= len(scores) * block
            candidates.append((c, position, o, [(i, ranking[i][o]) for i in range(len(sums))]))

    def kept():
        return sum(count(kept_by(mask, gone, block)) for mask, gone in zip(masks, pruned, strict=True))

    for _, position, _, places in sorted(candidates):
        if target <= 1 - Fraction(n, m) or kept() <= (1 - target) * total:
            break
        for i, j in places:
            pruned[position][i][j] = True
    return list(zip(masks, pruned, strict=True))
