"""The slow twin of the Gumbel kernel: fractions and the logarithm of decimals."""

from decimal import Decimal, localcontext


def gumbel(draw: int) -> float:
    with localcontext(prec=60):
        u = (Decimal(draw >> 12) + Decimal("0.5")) / Decimal(2**52)
        return float(-((-u.ln()).ln()))
