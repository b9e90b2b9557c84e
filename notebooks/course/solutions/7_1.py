import numpy as np
from scipy import stats


def answer(a, b):
    """What both methods share with a seed cancels in the differences, so the interval is theirs."""
    differences = np.asarray(b) - np.asarray(a)
    n = len(differences)
    return differences.mean(), stats.t.ppf(0.975, n - 1) * differences.std(ddof=1) / np.sqrt(n)
